// ModelHost: what the admin API asks of the pool of the instance that it runs in. Thread-safe; quick.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "gateway/directory/models.h"
#include "tollgate/v1/registry.pb.h"

namespace tollgate::admin {

class ModelHost {
 public:
  virtual ~ModelHost() = default;

  // Whether this instance could load the model now, by its file's header alone. The refusal names the remedy, in numbers.
  virtual absl::Status Check(const directory::Model& model) const = 0;

  // A model that is there although the registry did not ask for it: tollgate.yaml names it.
  virtual bool IsConfigured(std::string_view model) const = 0;

  // All of these.
  virtual std::vector<std::string> Configured() const = 0;

  struct Standing {
    v1::ModelState state = v1::MODEL_STATE_UNLOADED;
    std::string problem;  // Why it could not be loaded.
  };
  virtual Standing StandingOf(std::string_view model) const = 0;

  // Tries again at once what could not be loaded.
  virtual void Retry(std::string_view model) = 0;
};

}  // namespace tollgate::admin
