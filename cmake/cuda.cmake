# The preset `cuda`: our CUDA sources are compiled, and libllama with its CUDA backend is taken where scripts/setup-cuda has built it. The
# program itself links nothing of CUDA in any preset: it looks for the libraries when it runs.
option(TOLLGATE_CUDA "Compile CUDA sources with nvcc" OFF)
if(TOLLGATE_CUDA)
  # C comes before: nvcc's checks are in it. The architectures are CMAKE_CUDA_ARCHITECTURES, 90 for H100 and H200.
  enable_language(CUDA)
  find_package(CUDAToolkit 12 REQUIRED)
  message(STATUS "CUDA ${CMAKE_CUDA_COMPILER_VERSION} for architectures ${CMAKE_CUDA_ARCHITECTURES}")
endif()
