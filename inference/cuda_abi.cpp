// How it works. What inference/cuda_calls.h says of NVIDIA's functions, held against NVIDIA's own headers by the compiler; nothing runs.
// Built by the preset `cuda`. Enumerations are passed as int here and must be of its size there.
//
// Tested by being compiled, in `make test` and `make gpu-check`; what uses it, by tests/inference/cuda_devices_test.cpp.
#include <cuda_runtime_api.h>
#include <nvml.h>

#include <cstddef>
#include <type_traits>

#include "inference/cuda_calls.h"

namespace tollgate::inference {
namespace {

// A type as it crosses the border: enumerations as int, pointers to them and to structures as the pointer that they are.
template <typename T>
struct Crosses {
  using type = std::conditional_t<std::is_enum_v<T>, int, std::conditional_t<std::is_pointer_v<T>, void*, T>>;
  static_assert(!std::is_enum_v<T> || sizeof(T) == sizeof(int));
};

template <typename Ours, typename Theirs>
struct Same;
template <typename R1, typename... A1, typename R2, typename... A2>
struct Same<R1 (*)(A1...), R2 (*)(A2...)> {
  static constexpr bool value = std::is_same_v<typename Crosses<R1>::type, typename Crosses<R2>::type> &&
                                std::is_same_v<void(typename Crosses<A1>::type...), void(typename Crosses<A2>::type...)>;
};

#define TOLLGATE_SAME(calls, member, function) static_assert(Same<decltype(calls::member), decltype(&function)>::value)
TOLLGATE_SAME(NvmlCalls, init, nvmlInit_v2);
TOLLGATE_SAME(NvmlCalls, driver, nvmlSystemGetDriverVersion);
TOLLGATE_SAME(NvmlCalls, count, nvmlDeviceGetCount_v2);
TOLLGATE_SAME(NvmlCalls, handle, nvmlDeviceGetHandleByIndex_v2);
TOLLGATE_SAME(NvmlCalls, name, nvmlDeviceGetName);
TOLLGATE_SAME(NvmlCalls, uuid, nvmlDeviceGetUUID);
TOLLGATE_SAME(NvmlCalls, pci, nvmlDeviceGetPciInfo_v3);
TOLLGATE_SAME(NvmlCalls, memory, nvmlDeviceGetMemoryInfo);
TOLLGATE_SAME(NvmlCalls, utilisation, nvmlDeviceGetUtilizationRates);
TOLLGATE_SAME(NvmlCalls, temperature, nvmlDeviceGetTemperature);
TOLLGATE_SAME(NvmlCalls, ecc, nvmlDeviceGetEccMode);
TOLLGATE_SAME(NvmlCalls, ecc_errors, nvmlDeviceGetTotalEccErrors);
TOLLGATE_SAME(CudaCalls, version, cudaRuntimeGetVersion);
TOLLGATE_SAME(CudaCalls, count, cudaGetDeviceCount);
TOLLGATE_SAME(CudaCalls, pci, cudaDeviceGetPCIBusId);
TOLLGATE_SAME(CudaCalls, error, cudaGetErrorString);
TOLLGATE_SAME(CudaCalls, attribute, cudaDeviceGetAttribute);
#undef TOLLGATE_SAME

static_assert(sizeof(NvmlMemory) == sizeof(nvmlMemory_t) && offsetof(NvmlMemory, free) == offsetof(nvmlMemory_t, free));
static_assert(sizeof(NvmlMemory::total) == sizeof(nvmlMemory_t::total) && sizeof(NvmlMemory::free) == sizeof(nvmlMemory_t::free));
static_assert(sizeof(NvmlUtilisation) == sizeof(nvmlUtilization_t) && offsetof(NvmlUtilisation, gpu) == offsetof(nvmlUtilization_t, gpu));
static_assert(sizeof(NvmlPci) == sizeof(nvmlPciInfo_t) && offsetof(NvmlPci, bus_id) == offsetof(nvmlPciInfo_t, busId));
static_assert(kNvmlTemperatureGpu == NVML_TEMPERATURE_GPU && kNvmlUncorrected == NVML_MEMORY_ERROR_TYPE_UNCORRECTED);
static_assert(kNvmlVolatile == NVML_VOLATILE_ECC && NVML_FEATURE_ENABLED == 1 && NVML_SUCCESS == 0 && cudaSuccess == 0);
static_assert(kCudaCapabilityMajor == cudaDevAttrComputeCapabilityMajor && kCudaCapabilityMinor == cudaDevAttrComputeCapabilityMinor);

}  // namespace
}  // namespace tollgate::inference
