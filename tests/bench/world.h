// What the benchmarks of the whole program run against: an installation with Postgres, a company with 20 rules and quotas on every scope,
// and a gateway as it is shipped.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/bench/request_rows.h"
#include "tests/e2e/support/admin.h"
#include "tests/e2e/support/gateway.h"
#include "tests/e2e/support/installation.h"

namespace tollgate::bench {

class World {
 public:
  explicit World(const e2e::InstanceOptions& options);

  const e2e::Gateway& gateway() const { return *gateway_; }
  e2e::Process& process() { return gateway_->process(); }
  const std::string& key() const { return company_.key; }
  Databases databases() const { return {installation_.main_url(), keys_url_}; }
  Databases NewDatabases() const;  // Empty ones with the same tables.

 private:
  e2e::Installation installation_;
  std::unique_ptr<e2e::Gateway> gateway_;
  e2e::Company company_;
  std::string keys_url_;
};

// Of the scripted engine, as an operator would configure it for 64 requests at once.
e2e::InstanceOptions ScriptedInstance();

// 20 prompts of about 400 bytes, each answered with 64 tokens or a few more. Policy redacts something in the prompt of two of them, and in
// the output alone of a third.
std::vector<std::string> Prompts();

}  // namespace tollgate::bench
