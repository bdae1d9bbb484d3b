# Two thirds of the time of a build is reading the same library headers. With TOLLGATE_PRECOMPILED they are read once, for all targets:
# headers of the standard library and of others alone, which change with their package only. The release preset goes without, so that it
# finds a file that leaves out one of its own includes.
option(TOLLGATE_PRECOMPILED "Read the libraries' headers once for all files" OFF)

# Called at the end, when all targets stand.
function(tollgate_precompile)
  if(NOT TOLLGATE_PRECOMPILED)
    return()
  endif()
  file(WRITE ${CMAKE_BINARY_DIR}/precompiled.cpp "// Compiled for its precompiled header alone.\n")
  add_library(tollgate_precompiled OBJECT ${CMAKE_BINARY_DIR}/precompiled.cpp)
  target_link_libraries(tollgate_precompiled PRIVATE absl::status absl::statusor fmt::fmt protobuf::libprotobuf Catch2::Catch2)
  target_precompile_headers(tollgate_precompiled PRIVATE
    <algorithm> <array> <atomic> <chrono> <condition_variable> <cstdint> <cstdlib> <deque> <filesystem> <fstream> <functional> <future>
    <iostream> <map> <memory> <mutex> <optional> <random> <set> <span> <sstream> <string> <string_view> <thread> <unordered_map> <utility>
    <variant> <vector>
    <absl/status/status.h> <absl/status/statusor.h> <fmt/format.h>
    <google/protobuf/arena.h> <google/protobuf/extension_set.h> <google/protobuf/generated_enum_reflection.h>
    <google/protobuf/generated_message_util.h> <google/protobuf/map_entry.h> <google/protobuf/map_field_inl.h>
    <google/protobuf/message.h> <google/protobuf/repeated_field.h> <google/protobuf/unknown_field_set.h>
    <catch2/catch_test_macros.hpp> <catch2/generators/catch_generators.hpp> <catch2/matchers/catch_matchers_string.hpp>)
  tollgate_precompile_folder(${CMAKE_SOURCE_DIR})
endfunction()

function(tollgate_precompile_folder folder)
  get_directory_property(targets DIRECTORY ${folder} BUILDSYSTEM_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(type ${target} TYPE)
    if(type MATCHES "^(STATIC_LIBRARY|OBJECT_LIBRARY|EXECUTABLE)$" AND NOT target STREQUAL tollgate_precompiled)
      # A precompiled header is of use only where the macros that it saw are the same.
      target_compile_definitions(${target} PRIVATE $<TARGET_PROPERTY:fmt::fmt,INTERFACE_COMPILE_DEFINITIONS>)
      target_precompile_headers(${target} REUSE_FROM tollgate_precompiled)
      # The first is what ccache asks for. Through a precompiled header g++ 12 warns of std::string's own moves.
      target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess;-Wno-array-bounds;-Wno-stringop-overflow;-Wno-stringop-overread>")
    endif()
  endforeach()
  get_directory_property(folders DIRECTORY ${folder} SUBDIRECTORIES)
  foreach(below IN LISTS folders)
    tollgate_precompile_folder(${below})
  endforeach()
endfunction()
