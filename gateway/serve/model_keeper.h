// ModelKeeper: makes the pool hold what the registry says, models and their adapters: loads what shall be loaded and unloads what shall
// not, one after the other, on a thread of its own, within a second of a change. What cannot be loaded is tried again every minute, and
// when asked to. Models that were named in tollgate.yaml are none of its business. Thread-safe.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "gateway/admin/model_host.h"
#include "gateway/directory/directory.h"
#include "inference/pool.h"

namespace tollgate::serve {

inference::KvType KvOf(std::string_view name);  // "q8", "f32"; anything else: f16. The settings' readers know no other name.
inference::DeviceSampling DeviceSamplingOf(std::string_view name);  // "auto", "on"; anything else: off.

struct ModelKeeperOptions {
  std::string models_dir;  // Holds the files.
  inference::DeviceSampling device_sampling = inference::DeviceSampling::kOff;
  std::chrono::milliseconds drain{20'000};  // For running requests of a model that is unloaded.
  std::chrono::milliseconds look{200};      // How often the directory is asked whether it has changed.
  std::chrono::milliseconds retry{60'000};  // After which what could not be loaded is tried again.
};

class ModelKeeper final : public admin::ModelHost {
 public:
  ModelKeeper(const directory::Directory& directory, inference::Pool& pool, const base::Clock& clock, ModelKeeperOptions options);
  ~ModelKeeper() override;  // Stop, then waits for what it is doing: a load takes its time, unless the pool breaks it off.

  absl::Status Check(const directory::Model& model) const override;
  bool IsConfigured(std::string_view model) const override;
  std::vector<std::string> Configured() const override;
  Standing StandingOf(std::string_view model) const override;
  void Retry(std::string_view model) override;

  // Models that should be loaded when this instance came to know the registry, still should be, and were not tried yet: the instance is
  // not ready for them. What is wanted later, or tried again, makes nobody wait.
  std::vector<std::string> Loading() const;

  void Stop();  // Begins nothing more. Returns at once.

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tollgate::serve
