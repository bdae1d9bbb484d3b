// Every step is one change that is idempotent, so an interrupted first start goes on where it stopped. FOLDER/sample holds one line for
// each part that was made to its end; a part that has its line is never made again. A key is written to keys.json as soon as it is made;
// one that was made but not written (a crash between the two) is left unused and a second one takes its place.
//
// Tested by tests/e2e, which start the program.
#include "gateway/dev/company.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/encoding.h"
#include "gateway/admin/changes.h"
#include "gateway/dev/sample_policies.h"

namespace tollgate::dev {
namespace {
using admin::Actor;
using admin::Changes;
using admin::ScopeNames;
using directory::Role;

struct KeyPlan {
  const char* name;
  const char* team;
  const char* project;
  const char* owner;
  std::vector<Role> roles;
  const char* use;
};

const std::vector<KeyPlan>& Keys() {
  static const std::vector<KeyPlan> keys = {
      {"web", "search", "web", "wanda@acme.example", {Role::kMember}, "the web application"},
      {"batch", "search", "batch", "wanda@acme.example", {Role::kMember}, "nightly jobs; may read personal data, never send it on"},
      {"helpdesk", "support", "helpdesk", "hugo@acme.example", {Role::kMember}, "the helpdesk"},
      {"trial", "support", "trial", "hugo@acme.example", {Role::kMember}, "100 tokens a minute"},
      {"author", "support", "helpdesk", "pia@acme.example", {Role::kPolicyAuthor}, "writes policies"},
      {"auditor", "support", "helpdesk", "axel@acme.example", {Role::kAuditor}, "reads the audit log"},
      {"finance", "support", "helpdesk", "fay@acme.example", {Role::kFinance}, "reads usage and bills"},
  };
  return keys;
}

// OK also if it was there already.
template <typename T>
absl::Status Accept(const absl::StatusOr<T>& made) {
  return made.ok() || made.status().code() == absl::StatusCode::kAlreadyExists ? absl::OkStatus() : made.status();
}

class Maker {
 public:
  Maker(Changes& changes, const Company& company) : changes_(changes), company_(company), actor_{company.actor, {}, true} {
    if (auto keys = cli::ReadDevKeys(company.folder); keys.ok()) keys_ = *std::move(keys);
    if (auto marks = base::ReadFile(Marks()); marks.ok()) marks_ = *std::move(marks);
  }

  absl::StatusOr<std::vector<cli::DevKey>> Run() {
    TG_RETURN_IF_ERROR(Owner());
    TG_RETURN_IF_ERROR(Once("tenants", [this] { return Tenants(); }));
    TG_RETURN_IF_ERROR(Once("policies", [this] { return Policies(); }));
    TG_RETURN_IF_ERROR(Once("quotas", [this] { return Quotas(); }));
    TG_RETURN_IF_ERROR(Once("price " + company_.model, [this] { return Price(); }));
    for (const KeyPlan& plan : Keys()) TG_RETURN_IF_ERROR(MakeKey(plan));
    return keys_;
  }

 private:
  std::string Marks() const { return company_.folder + "/sample"; }

  absl::Status Once(const std::string& part, const std::function<absl::Status()>& make) {
    if (("\n" + marks_).find("\n" + part + "\n") != std::string::npos) return absl::OkStatus();
    TG_RETURN_IF_ERROR(base::Annotate(make(), "cannot make the sample company's " + part));
    marks_ += part + "\n";
    return base::WriteFileAtomically(Marks(), marks_, 0600);
  }

  absl::Status Keep(const cli::DevKey& key) {
    keys_.push_back(key);
    return cli::WriteDevKeys(company_.folder, keys_);
  }

  absl::Status Owner() {
    if (!cli::SecretOf(keys_, "owner").empty()) return absl::OkStatus();
    const std::string place = "tollgate/operators/admin";
    const std::string use = "everything: administration of the whole installation";
    TG_ASSIGN(const auto first, changes_.Bootstrap(actor_, "owner@acme.example", true));
    if (first) return Keep({"owner", first->secret, place, use});
    const KeyPlan again{"owner", "operators", "admin", "owner@acme.example", {Role::kOwner}, use.c_str()};
    return MakeKeyIn("tollgate", again);
  }

  absl::Status Tenants() {
    TG_RETURN_IF_ERROR(Accept(changes_.CreateOrg(actor_, kOrg)));
    for (const KeyPlan& plan : Keys()) {
      TG_RETURN_IF_ERROR(Accept(changes_.CreateTeam(actor_, kOrg, plan.team)));
      TG_RETURN_IF_ERROR(Accept(changes_.CreateProject(actor_, kOrg, plan.team, plan.project)));
    }
    return absl::OkStatus();
  }

  absl::Status Policies() {
    for (const SamplePolicy& policy : SamplePolicies()) {
      const std::string name(policy.name);
      TG_RETURN_IF_ERROR(changes_.PutPolicy(actor_, kOrg, name, std::string(policy.yaml)).status());
      TG_RETURN_IF_ERROR(changes_.ActivatePolicy(actor_, kOrg, name, 1).status());
    }
    return absl::OkStatus();
  }

  absl::Status Quotas() {
    for (const SampleQuota& quota : SampleQuotas()) {
      const std::string limit = quota.limit;
      const std::size_t slash = limit.find('/');
      const std::string window = slash == std::string::npos ? "none" : limit.substr(slash + 1);
      TG_RETURN_IF_ERROR(
          changes_.SetQuota(actor_, ScopeNames{kOrg, quota.team, quota.project, ""}, limit.substr(0, slash), window, quota.amount)
              .status());
    }
    return absl::OkStatus();
  }

  absl::Status Price() {
    admin::NewPrice price;
    price.model = company_.model;
    TG_ASSIGN(price.input, base::ParseMoney("0.10"));
    TG_ASSIGN(price.cached_input, base::ParseMoney("0.05"));
    TG_ASSIGN(price.output, base::ParseMoney("0.40"));
    return changes_.SetPrice(actor_, price).status();
  }

  absl::Status MakeKey(const KeyPlan& plan) {
    if (!cli::SecretOf(keys_, plan.name).empty()) return absl::OkStatus();
    return MakeKeyIn(kOrg, plan);
  }

  absl::Status MakeKeyIn(const std::string& org, const KeyPlan& plan) {
    admin::NewKey key{.name = plan.name, .owner = plan.owner, .roles = plan.roles, .expires_us = std::nullopt, .dev = true};
    absl::Status status;
    for (int attempt = 1; attempt < 10; ++attempt) {
      if (attempt > 1) key.name = fmt::format("{}-{}", plan.name, attempt);
      const auto made = changes_.CreateKey(actor_, ScopeNames{org, plan.team, plan.project, ""}, key);
      if (made.ok()) return Keep({plan.name, made->secret, fmt::format("{}/{}/{}", org, plan.team, plan.project), plan.use});
      status = made.status();
      if (status.code() != absl::StatusCode::kAlreadyExists) break;
    }
    return base::Annotate(status, fmt::format("cannot make the sample key {}", plan.name));
  }

  Changes& changes_;
  const Company& company_;
  const Actor actor_;
  std::vector<cli::DevKey> keys_;
  std::string marks_;
};
}  // namespace

std::span<const SampleQuota> SampleQuotas() {
  static constexpr SampleQuota kQuotas[] = {{"", "", "tokens/month", 50'000'000},
                                            {"search", "", "tokens/month", 20'000'000},
                                            {"support", "", "concurrent", 16},
                                            {"search", "web", "requests/minute", 600},
                                            {"support", "trial", "tokens/minute", kTrialTokensPerMinute}};
  return kQuotas;
}

absl::StatusOr<std::vector<cli::DevKey>> MakeCompany(Changes& changes, const Company& company) { return Maker(changes, company).Run(); }

}  // namespace tollgate::dev
