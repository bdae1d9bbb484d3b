# What is compiled together. With TOLLGATE_UNITY four sources of a target, which are listed one after the other, are one compilation: the
# headers that they share are read once. The release preset goes without, and finds a file that leaves out one of its own includes.
option(TOLLGATE_UNITY "Compile sources in fours" OFF)

# tollgate_unity(TARGET APART SOURCES …): all of a target's sources but those: what they keep to themselves has a neighbour's name.
function(tollgate_unity target)
  if(NOT TOLLGATE_UNITY)
    return()
  endif()
  cmake_parse_arguments(arg "" "" "APART" ${ARGN})
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 4)
  # g++ takes a source that is included for a header, whose coroutines hold what only it knows.
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-subobject-linkage>)
  set_source_files_properties(${arg_APART} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()
