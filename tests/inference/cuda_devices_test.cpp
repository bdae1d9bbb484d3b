// What discovery makes of what the CUDA runtime and NVML answer. The libraries are played here; `make gpu-check` asks real ones.
#include <catch2/catch_test_macros.hpp>

#include <cstdio>
#include <cstring>

#include "inference/cuda_calls.h"

namespace tollgate::inference {
namespace {

// A machine with two GPUs, as NVML shows it; what the runtime shows of it is set by a test.
NvmlHandle Handle(unsigned int i) { return reinterpret_cast<NvmlHandle>(static_cast<std::uintptr_t>(i + 1)); }
unsigned int IndexOf(NvmlHandle handle) { return static_cast<unsigned int>(reinterpret_cast<std::uintptr_t>(handle)) - 1; }

int Write(char* to, std::size_t size, const char* text) {
  std::snprintf(to, size, "%s", text);
  return 0;
}

NvmlCalls TwoGpus() {
  NvmlCalls nvml;
  nvml.init = [] { return 0; };
  nvml.driver = [](char* to, unsigned int size) { return Write(to, size, "580.65.06"); };
  nvml.count = [](unsigned int* count) { return *count = 2, 0; };
  nvml.handle = [](unsigned int i, NvmlHandle* handle) { return *handle = Handle(i), 0; };
  nvml.name = [](NvmlHandle, char* to, unsigned int size) { return Write(to, size, "NVIDIA H100"); };
  nvml.uuid = [](NvmlHandle h, char* to, unsigned int size) { return Write(to, size, IndexOf(h) == 0 ? "GPU-a" : "GPU-b"); };
  nvml.pci = [](NvmlHandle h, NvmlPci* pci) { return Write(pci->bus_id, 32, IndexOf(h) == 0 ? "00000000:1B:00.0" : "00000000:C1:00.0"); };
  nvml.memory = [](NvmlHandle h, NvmlMemory* memory) {
    *memory = {80ULL << 30, IndexOf(h) == 0 ? 79ULL << 30 : 3ULL << 30, 0};
    return 0;
  };
  nvml.utilisation = [](NvmlHandle h, NvmlUtilisation* used) { return *used = {IndexOf(h) * 97, 0}, 0; };
  nvml.temperature = [](NvmlHandle, int sensor, unsigned int* celsius) { return *celsius = 41, sensor; };
  nvml.ecc = [](NvmlHandle, int* now, int* pending) { return *now = *pending = 1, 0; };
  nvml.ecc_errors = [](NvmlHandle h, int type, int counter, unsigned long long* errors) {
    *errors = IndexOf(h);
    return type == 1 && counter == 0 ? 0 : 2;
  };
  return nvml;
}

// The process may use both, the second first.
CudaCalls TheOtherWayRound() {
  CudaCalls cuda;
  cuda.version = [](int* version) { return *version = 13000, 0; };
  cuda.count = [](int* count) { return *count = 2, 0; };
  cuda.pci = [](char* to, int size, int i) { return Write(to, static_cast<std::size_t>(size), i == 0 ? "0000:C1:00.0" : "0000:1B:00.0"); };
  cuda.attribute = [](int* value, int attribute, int) { return *value = attribute == 75 ? 9 : 0, 0; };
  cuda.error = [](int) { return "the driver is too old"; };
  return cuda;
}

TEST_CASE("Devices are joined by their place on the bus and stand in the runtime's order") {
  const CudaReport report = Discover(TwoGpus(), TheOtherWayRound());
  CHECK(report.driver == "580.65.06");
  CHECK(report.runtime == "13.0");
  CHECK(report.notes.empty());
  REQUIRE(report.devices.size() == 2);
  const CudaDevice& first = report.devices[0];
  CHECK(first.index == 0);
  CHECK(first.uuid == "GPU-b");
  CHECK(first.name == "NVIDIA H100");
  CHECK(first.pci_bus_id == "00000000:c1:00.0");
  CHECK(first.capability == "9.0");
  CHECK(first.memory_bytes == 80LL << 30);
  CHECK(first.free_bytes == 3LL << 30);
  CHECK(first.utilisation_percent == 97);
  CHECK(first.temperature_celsius == 41);
  CHECK(first.ecc == true);
  CHECK(first.ecc_errors == 1);
  CHECK(report.devices[1].index == 1);
  CHECK(report.devices[1].uuid == "GPU-a");
}

TEST_CASE("A device that the process may not use is shown last, without an index") {
  CudaCalls cuda = TheOtherWayRound();
  cuda.count = [](int* count) { return *count = 1, 0; };
  const CudaReport report = Discover(TwoGpus(), cuda);
  REQUIRE(report.devices.size() == 2);
  CHECK(report.devices[0].uuid == "GPU-b");
  CHECK(report.devices[1].index == -1);
  CHECK(report.devices[1].capability.empty());
}

TEST_CASE("What is missing is said, with the remedy, and what a device does not answer is unknown") {
  const CudaReport nothing = Discover({}, {});
  CHECK(nothing.devices.empty());
  REQUIRE(nothing.notes.size() == 2);
  CHECK(nothing.notes[0].find("libnvidia-ml.so.1") != std::string::npos);
  CHECK(nothing.notes[1].find("libcudart.so.13") != std::string::npos);

  const CudaReport no_runtime = Discover(TwoGpus(), {});
  REQUIRE(no_runtime.devices.size() == 2);
  CHECK(no_runtime.devices[0].index == -1);
  CHECK(no_runtime.devices[0].uuid == "GPU-a");

  CudaCalls old_driver = TheOtherWayRound();
  old_driver.count = [](int*) { return 35; };
  const CudaReport refused = Discover(TwoGpus(), old_driver);
  REQUIRE(refused.notes.size() == 1);
  CHECK(refused.notes[0].find("code 35, the driver is too old") != std::string::npos);

  NvmlCalls broken = TwoGpus();
  broken.init = [] { return 9; };
  CHECK(Discover(broken, {}).notes[0].find("code 9") != std::string::npos);

  NvmlCalls silent = TwoGpus();
  silent.memory = nullptr;
  silent.temperature = [](NvmlHandle, int, unsigned int*) { return 3; };
  silent.ecc = nullptr;
  const CudaReport unknown = Discover(silent, TheOtherWayRound());
  REQUIRE(unknown.devices.size() == 2);
  CHECK(unknown.devices[0].memory_bytes == -1);
  CHECK_FALSE(unknown.devices[0].temperature_celsius.has_value());
  CHECK_FALSE(unknown.devices[0].ecc.has_value());
  CHECK_FALSE(unknown.devices[0].ecc_errors.has_value());
}

TEST_CASE("The runtime alone gives devices too") {
  const CudaReport report = Discover({}, TheOtherWayRound());
  REQUIRE(report.devices.size() == 2);
  CHECK(report.devices[0].pci_bus_id == "00000000:c1:00.0");
  CHECK(report.devices[0].memory_bytes == -1);
}

TEST_CASE("This machine answers, with a GPU or without") {
  const CudaReport report = DiscoverCuda();
  CHECK((!report.devices.empty() || !report.notes.empty()));
  CHECK(DiscoverCuda().devices.size() == report.devices.size());
}

}  // namespace
}  // namespace tollgate::inference
