// How it works. The libraries are opened once and stay open; a function that one of them lacks stays null, and what it would say unknown.
// The runtime that the program was built beside is tried first, then what the loader finds.
//
// Tested by tests/inference/cuda_devices_test.cpp; what a GPU answers, by `make gpu-check`.
#include <dlfcn.h>

#include "inference/cuda_calls.h"

namespace tollgate::inference {
namespace {

void* OpenFirst(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (*name == 0) continue;
    if (void* library = ::dlopen(name, RTLD_NOW | RTLD_LOCAL)) return library;
  }
  return nullptr;
}

template <typename Function>
void Find(void* library, const char* name, Function& function) {
  if (library != nullptr) function = reinterpret_cast<Function>(::dlsym(library, name));
}

NvmlCalls LoadNvml() {
  void* library = OpenFirst({"libnvidia-ml.so.1"});
  NvmlCalls calls;
  Find(library, "nvmlInit_v2", calls.init);
  Find(library, "nvmlSystemGetDriverVersion", calls.driver);
  Find(library, "nvmlDeviceGetCount_v2", calls.count);
  Find(library, "nvmlDeviceGetHandleByIndex_v2", calls.handle);
  Find(library, "nvmlDeviceGetName", calls.name);
  Find(library, "nvmlDeviceGetUUID", calls.uuid);
  Find(library, "nvmlDeviceGetPciInfo_v3", calls.pci);
  Find(library, "nvmlDeviceGetMemoryInfo", calls.memory);
  Find(library, "nvmlDeviceGetUtilizationRates", calls.utilisation);
  Find(library, "nvmlDeviceGetTemperature", calls.temperature);
  Find(library, "nvmlDeviceGetEccMode", calls.ecc);
  Find(library, "nvmlDeviceGetTotalEccErrors", calls.ecc_errors);
  return calls;
}

CudaCalls LoadCuda() {
  void* library = OpenFirst({TOLLGATE_CUDA_RUNTIME, "libcudart.so.13", "libcudart.so.12"});
  CudaCalls calls;
  Find(library, "cudaRuntimeGetVersion", calls.version);
  Find(library, "cudaGetDeviceCount", calls.count);
  Find(library, "cudaDeviceGetPCIBusId", calls.pci);
  Find(library, "cudaDeviceGetAttribute", calls.attribute);
  Find(library, "cudaGetErrorString", calls.error);
  return calls;
}

}  // namespace

CudaReport DiscoverCuda() {
  static const NvmlCalls nvml = LoadNvml();
  static const CudaCalls cuda = LoadCuda();
  return Discover(nvml, cuda);
}

}  // namespace tollgate::inference
