# Read by llama.cpp's own CMakeLists.txt in scripts/setup, where it names its project. llama-common, the helpers of llama.cpp's programs, is
# a sixth of the build, and nothing of Tollgate's uses it: llama-cpp-python asks for it, whatever flags it is given.
set(LLAMA_BUILD_COMMON OFF)
