# How everything is compiled. Presets choose the build type and the sanitizer.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

set(TOLLGATE_SANITIZE "" CACHE STRING "Sanitizers to build with: empty, address, thread or fuzzer")
set_property(CACHE TOLLGATE_SANITIZE PROPERTY STRINGS "" address thread fuzzer)

# Warnings are errors where the code is written: the dev preset. Other levels of optimisation see other false positives.
option(TOLLGATE_WERROR "Treat warnings as errors" OFF)
add_compile_options("$<$<COMPILE_LANGUAGE:C,CXX>:-pthread;-Wall;-Wextra;$<$<BOOL:${TOLLGATE_WERROR}>:-Werror>;-Wno-missing-field-initializers>")
# g++ clears up only what has grown beyond 768 MB, which no file of ours reaches: clearing up earlier took a tenth of the long compilations.
add_compile_options("$<$<COMPILE_LANG_AND_ID:CXX,GNU>:--param=ggc-min-heapsize=786432>")
add_link_options(-pthread -fuse-ld=mold)
include_directories(${CMAKE_SOURCE_DIR})
if(TOLLGATE_SANITIZE STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -Wno-maybe-uninitialized)
  add_link_options(-fsanitize=address,undefined)
elseif(TOLLGATE_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread -Wno-tsan)
  add_link_options(-fsanitize=thread)
elseif(TOLLGATE_SANITIZE STREQUAL "fuzzer")
  add_compile_options(-fsanitize=fuzzer-no-link,address -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address)
endif()
