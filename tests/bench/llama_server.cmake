# llama-server, which llama_server_bench.cpp measures Tollgate against: scripts/setup-llama-server lays this file, as CMakeLists.txt, beside
# the llama.cpp of libllama's source distribution, and says where libllama is (LIBLLAMA). Only the server's own sources and llama-common,
# which Tollgate has no use for, are compiled: libllama and ggml are the very files that Tollgate loads, so that the two differ by the
# server alone.
cmake_minimum_required(VERSION 3.21)
project(llama_server C CXX)

set(source ${CMAKE_CURRENT_SOURCE_DIR}/llama.cpp)
set(PROJECT_SOURCE_DIR ${source})  # Its lists take it for theirs.
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(BUILD_SHARED_LIBS OFF)
set(LLAMA_VERSION_BASE 0)
set(LLAMA_VERSION_MAJOR 0)
set(LLAMA_BUILD_NUMBER 0)
set(LLAMA_BUILD_COMMIT unknown)
# As llama.cpp builds it by itself; but no web page, which would be downloaded.
set(LLAMA_BUILD_COMMON ON)
set(LLAMA_OPENSSL ON)
set(LLAMA_SUBPROCESS ON)
set(LLAMA_BUILD_UI OFF)
set(LLAMA_USE_PREBUILT_UI OFF)
find_package(Threads REQUIRED)
find_package(OpenSSL REQUIRED)
function(llama_add_compile_flags)
endfunction()
function(license_add_file)
endfunction()

foreach(part ggml-base ggml llama)
  add_library(${part} SHARED IMPORTED)
  set_target_properties(${part} PROPERTIES IMPORTED_LOCATION ${LIBLLAMA}/lib/lib${part}.so)
endforeach()
target_include_directories(ggml-base INTERFACE ${source}/ggml/include)
target_compile_definitions(ggml-base INTERFACE GGML_BACKEND_DL GGML_SHARED)
target_link_libraries(ggml INTERFACE ggml-base)
target_include_directories(llama INTERFACE ${source}/include)
target_compile_definitions(llama INTERFACE LLAMA_SHARED)
target_link_libraries(llama INTERFACE ggml)

foreach(folder vendor common tools/mtmd tools/ui tools/server)
  add_subdirectory(llama.cpp/${folder} EXCLUDE_FROM_ALL)
endforeach()
