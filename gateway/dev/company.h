// Company: the sample company acme of `tollgate dev`: what it consists of, as data, and the code that makes it through admin::Changes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "gateway/cli/dev_files.h"

namespace tollgate::admin {
class Changes;
}

namespace tollgate::dev {

inline constexpr const char* kOrg = "acme";
inline constexpr std::int64_t kTrialTokensPerMinute = 100;

// A limit that the sample comes with; team and project empty: the org's.
struct SampleQuota {
  const char* team;
  const char* project;
  const char* limit;  // As on the command line: "tokens/month".
  std::int64_t amount;
};
std::span<const SampleQuota> SampleQuotas();

struct Company {
  std::string model;   // Name of the model that is priced.
  std::string folder;  // Of `tollgate dev`: keys.json is kept there.
  std::string actor;   // "cli:USER"
};

// Makes what is missing and returns the keys, the owner's first. The sample is made once: what somebody changed later stays as they left
// it. Blocks; a second the first time.
absl::StatusOr<std::vector<cli::DevKey>> MakeCompany(admin::Changes& changes, const Company& company);

}  // namespace tollgate::dev
