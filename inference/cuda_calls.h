// The few functions of the CUDA runtime and of NVML that discovery calls, with the types they have in C, so that neither's headers are
// needed to build; inference/cuda_abi.cpp holds them against the headers where those are. Internal to the room.
#pragma once

#include <cstddef>

#include "inference/cuda_devices.h"

namespace tollgate::inference {

struct NvmlMemory {
  unsigned long long total;
  unsigned long long free;
  unsigned long long used;
};
struct NvmlUtilisation {
  unsigned int gpu;
  unsigned int memory;
};
struct NvmlPci {
  char bus_id_legacy[16];
  unsigned int domain;
  unsigned int bus;
  unsigned int device;
  unsigned int pci_device_id;
  unsigned int pci_subsystem_id;
  char bus_id[32];
};

using NvmlHandle = void*;

inline constexpr int kNvmlTemperatureGpu = 0;
inline constexpr int kNvmlUncorrected = 1;
inline constexpr int kNvmlVolatile = 0;
inline constexpr int kCudaCapabilityMajor = 75;
inline constexpr int kCudaCapabilityMinor = 76;

// All null where there is no NVML. Each gives 0 when it went well. Names are those of the library, and how it exports them.
struct NvmlCalls {
  int (*init)() = nullptr;                                                 // nvmlInit_v2
  int (*driver)(char*, unsigned int) = nullptr;                            // nvmlSystemGetDriverVersion
  int (*count)(unsigned int*) = nullptr;                                   // nvmlDeviceGetCount_v2
  int (*handle)(unsigned int, NvmlHandle*) = nullptr;                      // nvmlDeviceGetHandleByIndex_v2
  int (*name)(NvmlHandle, char*, unsigned int) = nullptr;                  // nvmlDeviceGetName
  int (*uuid)(NvmlHandle, char*, unsigned int) = nullptr;                  // nvmlDeviceGetUUID
  int (*pci)(NvmlHandle, NvmlPci*) = nullptr;                              // nvmlDeviceGetPciInfo_v3
  int (*memory)(NvmlHandle, NvmlMemory*) = nullptr;                        // nvmlDeviceGetMemoryInfo
  int (*utilisation)(NvmlHandle, NvmlUtilisation*) = nullptr;              // nvmlDeviceGetUtilizationRates
  int (*temperature)(NvmlHandle, int, unsigned int*) = nullptr;            // nvmlDeviceGetTemperature
  int (*ecc)(NvmlHandle, int*, int*) = nullptr;                            // nvmlDeviceGetEccMode
  int (*ecc_errors)(NvmlHandle, int, int, unsigned long long*) = nullptr;  // nvmlDeviceGetTotalEccErrors
};

struct CudaCalls {
  int (*version)(int*) = nullptr;              // cudaRuntimeGetVersion
  int (*count)(int*) = nullptr;                // cudaGetDeviceCount
  int (*pci)(char*, int, int) = nullptr;       // cudaDeviceGetPCIBusId
  int (*attribute)(int*, int, int) = nullptr;  // cudaDeviceGetAttribute
  const char* (*error)(int) = nullptr;         // cudaGetErrorString
};

// What the libraries say; any of the calls may be null.
CudaReport Discover(const NvmlCalls& nvml, const CudaCalls& cuda);

}  // namespace tollgate::inference
