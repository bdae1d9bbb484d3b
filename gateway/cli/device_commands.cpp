// models devices: the GPUs of this machine, as the program that is handed in finds them. No server is asked.
//
// Tested by tests/gateway/cli/registry_test.cpp.
#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <boost/json.hpp>

#include "gateway/cli/registry_commands.h"
#include "gateway/cli/words.h"

namespace tollgate::cli {
namespace {

namespace json = boost::json;

std::string Known(std::int64_t value, std::string_view unit = "") { return value < 0 ? "-" : fmt::format("{}{}", ShowCount(value), unit); }

json::value KnownJson(std::int64_t value) { return value < 0 ? json::value() : json::value(value); }

std::string ShowEcc(const DeviceLine& device) {
  if (device.ecc.empty()) return "-";
  return device.ecc_errors > 0 ? fmt::format("{}, {} errors", device.ecc, ShowCount(device.ecc_errors)) : device.ecc;
}

std::string Json(const DeviceLines& lines) {
  json::array devices;
  for (const DeviceLine& d : lines.devices) {
    devices.push_back({{"index", KnownJson(d.index)},
                       {"name", d.name},
                       {"uuid", d.uuid},
                       {"compute_capability", d.capability},
                       {"memory_bytes", KnownJson(d.memory_bytes)},
                       {"free_bytes", KnownJson(d.free_bytes)},
                       {"utilisation_percent", KnownJson(d.utilisation_percent)},
                       {"temperature_celsius", KnownJson(d.temperature_celsius)},
                       {"ecc", d.ecc},
                       {"ecc_errors", KnownJson(d.ecc_errors)}});
  }
  const json::value notes = json::value_from(lines.notes);
  const json::value all = {{"driver", lines.driver}, {"runtime", lines.runtime}, {"devices", devices}, {"notes", notes}};
  return json::serialize(all) + "\n";
}

void Devices(Context& context) {
  if (!context.programs.devices) return context.Fail(kUsage, "this program was built without that command");
  const DeviceLines lines = context.programs.devices();
  if (context.globals.json) return context.Print(Json(lines));
  constexpr std::int64_t kMiB = 1 << 20;
  Table table({"> gpu", "name", "capability", "> memory MiB", "> free MiB", "> used", "> temperature", "ecc", "uuid"});
  for (const DeviceLine& d : lines.devices) {
    table.Add({d.index < 0 ? "not ours" : std::to_string(d.index), d.name, d.capability.empty() ? "-" : d.capability,
               Known(d.memory_bytes < 0 ? -1 : d.memory_bytes / kMiB), Known(d.free_bytes < 0 ? -1 : d.free_bytes / kMiB),
               Known(d.utilisation_percent, " %"), Known(d.temperature_celsius, " C"), ShowEcc(d), d.uuid});
  }
  context.Print(table.Text("no GPU: models compute on the processor"));
  for (const std::string& note : lines.notes) context.err() << note << "\n";
  if (!lines.driver.empty())
    context.err() << fmt::format("driver {}, CUDA runtime {}\n", lines.driver, lines.runtime.empty() ? "none" : lines.runtime);
}

}  // namespace

void AddDeviceCommands(CLI::App& group, Context& context) {
  auto* devices = group.add_subcommand("devices", "The GPUs of this machine: memory, use, temperature, errors");
  devices->callback([&context] { Devices(context); });
  Teach(*devices,
        "Asks this machine's NVIDIA driver and CUDA runtime, and no server. \"not ours\": this process may not use it\n"
        "(CUDA_VISIBLE_DEVICES), or there is no runtime to ask. \"-\": the device does not say. Errors are those that its\n"
        "memory could not correct.",
        {"tollgate models devices", "tollgate models devices --json"});
}

}  // namespace tollgate::cli
