// How it works. NVML is asked for every device on the machine, the runtime for those of this process; the two are joined by the place on
// the PCI bus, which the one writes with eight digits and the other with four. What a device does not answer stays unknown.
//
// Tested by tests/inference/cuda_devices_test.cpp.
#include "inference/cuda_devices.h"

#include <algorithm>
#include <array>
#include <cctype>

#include <fmt/format.h>

#include "inference/cuda_calls.h"

namespace tollgate::inference {
namespace {

// "0000:1B:00.0" and "00000000:1B:00.0" as "00000000:1b:00.0".
std::string BusId(std::string id) {
  std::transform(id.begin(), id.end(), id.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const auto colon = id.find(':');
  return colon < 8 ? std::string(8 - colon, '0') + id : id;
}

// What a call writes into a buffer of characters; empty when it fails or there is none.
template <typename Call>
std::string Text(Call call) {
  std::array<char, 128> text{};
  return call(text.data(), text.size() - 1) == 0 ? std::string(text.data()) : std::string();
}

CudaDevice Ask(const NvmlCalls& nvml, NvmlHandle handle) {
  CudaDevice device;
  const auto size = [](std::size_t n) { return static_cast<unsigned int>(n); };
  if (nvml.name) device.name = Text([&](char* text, std::size_t n) { return nvml.name(handle, text, size(n)); });
  if (nvml.uuid) device.uuid = Text([&](char* text, std::size_t n) { return nvml.uuid(handle, text, size(n)); });
  if (NvmlPci pci{}; nvml.pci && nvml.pci(handle, &pci) == 0) {
    pci.bus_id[sizeof(pci.bus_id) - 1] = 0;
    device.pci_bus_id = BusId(pci.bus_id);
  }
  if (NvmlMemory memory{}; nvml.memory && nvml.memory(handle, &memory) == 0) {
    device.memory_bytes = static_cast<std::int64_t>(memory.total);
    device.free_bytes = static_cast<std::int64_t>(memory.free);
  }
  if (NvmlUtilisation used{}; nvml.utilisation && nvml.utilisation(handle, &used) == 0)
    device.utilisation_percent = static_cast<int>(used.gpu);
  if (unsigned int celsius = 0; nvml.temperature && nvml.temperature(handle, kNvmlTemperatureGpu, &celsius) == 0)
    device.temperature_celsius = static_cast<int>(celsius);
  int now = 0;
  int pending = 0;
  if (nvml.ecc && nvml.ecc(handle, &now, &pending) == 0) device.ecc = now == 1;
  unsigned long long errors = 0;
  if (device.ecc.value_or(false) && nvml.ecc_errors && nvml.ecc_errors(handle, kNvmlUncorrected, kNvmlVolatile, &errors) == 0)
    device.ecc_errors = static_cast<std::int64_t>(errors);
  return device;
}

void AskNvml(const NvmlCalls& nvml, CudaReport& report) {
  if (!nvml.init || !nvml.count || !nvml.handle) {
    report.notes.push_back("no NVIDIA driver: libnvidia-ml.so.1 is not here, so that there is no GPU, or its driver is not installed");
    return;
  }
  unsigned int count = 0;
  if (const int code = nvml.init(); code != 0 || nvml.count(&count) != 0) {
    report.notes.push_back(
        fmt::format("NVML does not start (code {}): look at nvidia-smi, and whether this user may open /dev/nvidia*", code));
    return;
  }
  if (nvml.driver) report.driver = Text([&](char* text, std::size_t n) { return nvml.driver(text, static_cast<unsigned int>(n)); });
  for (unsigned int i = 0; i < count; ++i) {
    NvmlHandle handle = nullptr;
    if (nvml.handle(i, &handle) == 0) report.devices.push_back(Ask(nvml, handle));
  }
}

void AskRuntime(const CudaCalls& cuda, CudaReport& report) {
  if (!cuda.count || !cuda.pci) {
    report.notes.push_back("no CUDA runtime: libcudart.so.13 is not here; models compute on the processor");
    return;
  }
  if (int version = 0; cuda.version && cuda.version(&version) == 0)
    report.runtime = fmt::format("{}.{}", version / 1000, version % 1000 / 10);
  int count = 0;
  if (const int code = cuda.count(&count); code != 0) {
    const std::string why = cuda.error ? fmt::format("code {}, {}", code, cuda.error(code)) : fmt::format("code {}", code);
    report.notes.push_back(
        fmt::format("the CUDA runtime finds no device ({}): look at the driver's version and CUDA_VISIBLE_DEVICES", why));
    return;
  }
  for (int i = 0; i < count; ++i) {
    const std::string place = BusId(Text([&](char* text, std::size_t n) { return cuda.pci(text, static_cast<int>(n), i); }));
    auto device = std::find_if(report.devices.begin(), report.devices.end(), [&](const CudaDevice& d) { return d.pci_bus_id == place; });
    if (device == report.devices.end()) {
      device = report.devices.emplace(report.devices.end());
      device->pci_bus_id = place;
    }
    device->index = i;
    int major = 0;
    int minor = 0;
    if (cuda.attribute && cuda.attribute(&major, kCudaCapabilityMajor, i) == 0 && cuda.attribute(&minor, kCudaCapabilityMinor, i) == 0)
      device->capability = fmt::format("{}.{}", major, minor);
  }
}

}  // namespace

CudaReport Discover(const NvmlCalls& nvml, const CudaCalls& cuda) {
  CudaReport report;
  AskNvml(nvml, report);
  AskRuntime(cuda, report);
  std::stable_sort(report.devices.begin(), report.devices.end(), [](const CudaDevice& a, const CudaDevice& b) {
    return static_cast<unsigned int>(a.index) < static_cast<unsigned int>(b.index);  // -1 last.
  });
  return report;
}

}  // namespace tollgate::inference
