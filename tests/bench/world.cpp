#include "tests/bench/world.h"

#include <random>

#include <fmt/format.h>

#include "base/encoding.h"
#include "tests/bench/figures.h"
#include "tests/bench/rules.h"

namespace tollgate::bench {
namespace {

constexpr std::int64_t kPlenty = 1'000'000'000'000;

// The superuser's address of the database that the configuration names for keys.
std::string KeysUrl(const e2e::Installation& installation, const e2e::InstanceOptions& options) {
  const auto text = base::ReadFile(installation.Configure(options));
  if (!text.ok()) Fail(base::Message(text.status()));
  const auto begin = text->find("keys_url: ") + 10;
  const std::string url = text->substr(begin, text->find('\n', begin) - begin);
  return installation.cluster().UrlAs(url, "postgres");
}

std::string Words(std::mt19937_64& random, int words) {
  static const char* const kWords[] = {"river", "the",   "and",  "harbour", "of",    "morning", "quiet",  "letter",
                                       "with",  "stone", "over", "bridge",  "walks", "under",   "silver", "a"};
  std::string out;
  for (int i = 0; i < words; ++i) out += fmt::format("{}{}", i == 0 ? "" : " ", kWords[random() % std::size(kWords)]);
  return out;
}

}  // namespace

World::World(const e2e::InstanceOptions& options) {
  keys_url_ = KeysUrl(installation_, options);
  gateway_ = std::make_unique<e2e::Gateway>(installation_, options);
  e2e::Admin admin(*gateway_, installation_.owner_key());
  company_ = e2e::MakeCompany(admin, options.model_name);
  admin.PutPolicy(kTwentyRules, "bench");
  v1::ScopeRef org;
  org.set_org("acme");
  admin.SetQuota(org, v1::QUOTA_METER_TOKENS, v1::QUOTA_WINDOW_MONTH, kPlenty);
  admin.SetQuota(e2e::ScopeOf("red"), v1::QUOTA_METER_TOKENS, v1::QUOTA_WINDOW_MONTH, kPlenty);
  admin.SetQuota(e2e::ScopeOf("red", "app"), v1::QUOTA_METER_TOKENS, v1::QUOTA_WINDOW_MINUTE, kPlenty);
  admin.SetQuota(e2e::ScopeOf("red", "app", company_.public_id), v1::QUOTA_METER_REQUESTS, v1::QUOTA_WINDOW_MINUTE, 1'000'000'000);
}

Databases World::NewDatabases() const {
  return {installation_.cluster().NewDatabase({"migrations/main"}), installation_.cluster().NewDatabase({"migrations/keys"})};
}

e2e::InstanceOptions ScriptedInstance() {
  e2e::InstanceOptions options;
  options.slots = 256;
  options.context_tokens = 4096;
  options.queue_max = 1024;
  options.extra = {{"segment_ms", "100"}, {"directory_poll_ms", "250"}};
  return options;
}

std::vector<std::string> Prompts() {
  std::mt19937_64 random(20261125);
  std::vector<std::string> prompts;
  for (int i = 0; i < 20; ++i) {
    const std::string begin = Words(random, 40), end = Words(random, 22);
    if (i == 3)
      prompts.push_back(fmt::format("{} ann.bell@acme.example {}", begin, end));
    else if (i == 9)
      prompts.push_back(fmt::format("{} 4111 1111 1111 1111 {}", begin, end));
    else if (i == 15)
      prompts.push_back(fmt::format("!say {} ann.bell\\|@acme\\|.example {}", begin, end));  // Tokens that join to an address.
    else
      prompts.push_back(fmt::format("{} and {}", begin, end));
  }
  return prompts;
}

}  // namespace tollgate::bench
