// GPUs of this machine: how much memory each has and how it does, as NVIDIA's own libraries show them.
//
// The CUDA runtime says which devices this process may use, and in what order; NVML says how each device on the machine does. Both are
// looked for when they are first asked for, and not linked: the same program runs where there is neither, and then there are no devices.
// Nothing is set up on a device: no context, no memory. Milliseconds a device, and the driver's start the first time. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tollgate::inference {

struct CudaDevice {
  int index = -1;                  // What the CUDA runtime calls it in this process; -1: this process may not use it, or that is not known.
  std::string name;                // As its maker calls it.
  std::string uuid;                // Of the device itself, for life.
  std::string pci_bus_id;          // "00000000:1b:00.0": where it is.
  std::string capability;          // "9.0"; empty = not known.
  std::int64_t memory_bytes = -1;  // -1 = not known.
  std::int64_t free_bytes = -1;
  std::optional<int> utilisation_percent;  // Of the time, lately, in which something ran on it.
  std::optional<int> temperature_celsius;
  std::optional<bool> ecc;                 // Whether its memory corrects errors.
  std::optional<std::int64_t> ecc_errors;  // That it could not correct since the driver was loaded: more than 0 wants a look, or a reset.
};

struct CudaReport {
  std::vector<CudaDevice> devices;  // Those that this process may use first, in the runtime's order.
  std::string driver;               // "580.65.06"; empty = none.
  std::string runtime;              // "13.0"; empty = none.
  std::vector<std::string> notes;   // What was not found, and what is missing for it.
};

CudaReport DiscoverCuda();

}  // namespace tollgate::inference
