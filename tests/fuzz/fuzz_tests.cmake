# The fuzzers as tests of scripts/test: TOLLGATE_FUZZ_SECONDS each (30; the readers of files half of it; `make soak` gives more). Read by ctest, not by CMake.
set(fuzz_seconds $ENV{TOLLGATE_FUZZ_SECONDS})
if(NOT fuzz_seconds)
  set(fuzz_seconds 30)
endif()
math(EXPR fuzz_seconds_max "${fuzz_seconds} + 300")
foreach(property gguf language plain stream)
  set(seconds ${fuzz_seconds})
  if(property STREQUAL gguf)  # Small, and soon through.
    math(EXPR seconds "${fuzz_seconds} / 2")
  endif()
  add_test(fuzz_${property} "${CMAKE_CURRENT_LIST_DIR}/../../scripts/fuzz" ${seconds} ${property})
  set_tests_properties(fuzz_${property} PROPERTIES TIMEOUT ${fuzz_seconds_max} LABELS fuzz)
endforeach()
