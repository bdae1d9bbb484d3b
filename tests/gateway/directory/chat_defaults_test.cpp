#include "gateway/directory/chat_defaults.h"

#include <functional>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "gateway/directory/shard.h"
#include "gateway/directory/snapshot_builder.h"
#include "tests/gateway/directory/rows_of.h"

using namespace tollgate;
using namespace tollgate::directory;
using Settings = v1::ChatDefaults;

namespace {

Settings Everything() {
  Settings s;
  s.set_system_prompt("Answer in English.");
  s.set_replaces_system(true);
  v1::Sampling& sampling = *s.mutable_sampling();
  sampling.set_temperature(0.2);
  sampling.set_top_p(0.9);
  sampling.set_top_k(0);
  sampling.set_min_p(0.05);
  sampling.set_presence_penalty(-0.5);
  sampling.set_frequency_penalty(0.25);
  sampling.set_repeat_penalty(1.1);
  s.set_max_tokens(512);
  s.set_temperature_cap(1.2);
  s.set_input_tokens_cap(2000);
  s.set_output_tokens_cap(1024);
  s.set_stop_cap(0);
  s.set_band(0);
  s.set_weight(2.5);
  s.set_reasoning_tokens_cap(300);
  s.set_clamp(true);
  s.set_shares_cache(true);
  return s;
}

Row RowOf(const Settings& settings) {
  Row row = NewRow(Table::kChatDefaults);
  ToRow(*Checked(settings), row);
  return row;
}

}  // namespace

TEST_CASE("Defaults go into a row and come back as they were, what is not set as not set") {
  CHECK(SettingsOf(RowOf(Everything())).SerializeAsString() == Everything().SerializeAsString());
  Settings one;
  one.mutable_sampling()->set_top_k(0);
  const Settings back = SettingsOf(RowOf(one));
  CHECK(back.sampling().has_top_k());
  CHECK_FALSE(back.sampling().has_temperature());
  CHECK_FALSE(back.has_max_tokens());
  CHECK_FALSE(back.has_stop_cap());
}

TEST_CASE("Every number has bounds, and what is outside of them is refused by name") {
  struct Bad {
    const char* field;
    std::function<void(Settings&)> make;
  };
  const std::vector<Bad> rows = {
      {"temperature", [](auto& s) { s.mutable_sampling()->set_temperature(2.1); }},
      {"temperature", [](auto& s) { s.mutable_sampling()->set_temperature(std::numeric_limits<double>::quiet_NaN()); }},
      {"top_p", [](auto& s) { s.mutable_sampling()->set_top_p(0); }},
      {"top_p", [](auto& s) { s.mutable_sampling()->set_top_p(1e-9); }},  // It would be 0 in the row.
      {"top_k", [](auto& s) { s.mutable_sampling()->set_top_k(-1); }},
      {"min_p", [](auto& s) { s.mutable_sampling()->set_min_p(1.5); }},
      {"presence_penalty", [](auto& s) { s.mutable_sampling()->set_presence_penalty(-2.5); }},
      {"frequency_penalty", [](auto& s) { s.mutable_sampling()->set_frequency_penalty(3); }},
      {"repeat_penalty", [](auto& s) { s.mutable_sampling()->set_repeat_penalty(0); }},
      {"max_tokens", [](auto& s) { s.set_max_tokens(0); }},
      {"temperature_cap", [](auto& s) { s.set_temperature_cap(-0.1); }},
      {"input_tokens_cap", [](auto& s) { s.set_input_tokens_cap(0); }},
      {"output_tokens_cap", [](auto& s) { s.set_output_tokens_cap(-7); }},
      {"stop_cap", [](auto& s) { s.set_stop_cap(5); }},
      {"band", [](auto& s) { s.set_band(-1); }},
      {"band", [](auto& s) { s.set_band(4); }},
      {"weight", [](auto& s) { s.set_weight(0); }},
      {"weight", [](auto& s) { s.set_weight(0.009); }},
      {"weight", [](auto& s) { s.set_weight(100.5); }},
      {"weight", [](auto& s) { s.set_weight(std::numeric_limits<double>::quiet_NaN()); }},
      {"reasoning_tokens_cap", [](auto& s) { s.set_reasoning_tokens_cap(0); }},
      {"seed", [](auto& s) { s.mutable_sampling()->set_seed(1); }},
      {"replaces_system", [](auto& s) { s.clear_system_prompt(); }},
      {"shares_cache", [](auto& s) { s.clear_system_prompt(), s.set_replaces_system(false); }},
      {"system_prompt", [](auto& s) { s.set_system_prompt(std::string(40'000, 'a')); }},
      {"system_prompt", [](auto& s) { s.set_system_prompt("a\xff"); }},
      {"system_prompt", [](auto& s) { s.set_system_prompt(std::string("a\0b", 3)); }},
      {"defaults", [](auto& s) { s.Clear(); }},
      {"defaults", [](auto& s) { s.Clear(), s.set_clamp(true); }},
  };
  for (const Bad& row : rows) {
    Settings s = Everything();
    row.make(s);
    const auto checked = Checked(s);
    INFO(row.field);
    CHECK(absl::IsInvalidArgument(checked.status()));
    CHECK(base::Message(checked.status()).starts_with(std::string(row.field) + ": "));
  }
}

TEST_CASE("A refusal says what would do") {
  Settings s;
  s.set_band(4);
  CHECK(base::Message(Checked(s).status()) == "band: is 4; use 0 to 3");
  s.set_band(kBandLast);
  s.set_weight(0);
  CHECK(base::Message(Checked(s).status()) == "weight: is 0; use 0.01 to 100");
  s.set_weight(0.01);
  CHECK(Checked(s).ok());
}

TEST_CASE("Numbers are rounded to what a row holds, so that what is shown is what is used") {
  Settings s;
  s.mutable_sampling()->set_temperature(0.12345678);
  CHECK(Checked(s)->sampling().temperature() == 0.123457);
}

TEST_CASE("Words say what is set, and never the prompt's text") {
  CHECK(Words(Everything()) ==
        "system prompt of 18 bytes in place of the callers', cached for all teams, temperature 0.2, top_p 0.9, top_k 0, min_p 0.05, "
        "presence_penalty -0.5, "
        "frequency_penalty 0.25, repeat_penalty 1.1, max_tokens 512, band 0, weight 2.5, at most temperature 1.2, at most 2000 prompt "
        "tokens, at most 1024 output tokens, at most 300 tokens of thought, at most 0 stop strings, what is beyond is lowered");
  Settings cap;
  cap.set_output_tokens_cap(2'000'000'000);
  CHECK(Words(cap) == "at most 2000000000 output tokens, what is beyond is refused");
}

TEST_CASE("A snapshot gives the defaults on the way to a place, the org's first, and drops what was removed") {
  directory::test::Company company;
  const Row org = company.Org("acme");
  const Row team = company.Team(org, "search"), other = company.Team(org, "support");
  const Row project = company.Project(team, "web");
  const Row key = company.Key(project, "abcdefgh"), other_key = company.Key(project, "ijklmnop");
  const auto set = [&](const char* kind, const Row& scope, const std::string& prompt) {
    Settings settings;
    settings.set_system_prompt(prompt);
    Row row = RowOf(settings);
    row.Set("org", org.id.ToString());
    row.Set("scope_kind", std::string(kind));
    row.Set("scope_id", scope.id.ToString());
    row.Set("defaults_version", std::int64_t{1});
    row.Set("removed", std::string("f"));
    return company.Put(row);
  };
  set("project", project, "of the project");
  Row of_org = set("org", org, "of the org");
  set("team", other, "of another team");
  set("key", key, "of the key");
  set("key", other_key, "of another key");
  SnapshotBuilder builder(directory::test::kMacKey);
  REQUIRE(builder.Apply(company.changed, company.head).ok());
  auto snapshot = *builder.Build({});
  auto place = *snapshot->FindKey("abcdefgh");
  auto found = snapshot->DefaultsOf(place);
  REQUIRE(found.size() == 3);
  CHECK(found[0]->settings.system_prompt() == "of the org");
  CHECK(found[0]->scope_kind == "org");
  CHECK(found[0]->sha256 == RowDigest(of_org));
  CHECK(found[1]->scope_name == "web");
  CHECK(found[2]->settings.system_prompt() == "of the key");
  CHECK(found[2]->scope_name == "abcdefgh");

  of_org.Set("removed", std::string("t"));
  company.changed.clear();
  company.Put(of_org);
  REQUIRE(builder.Apply(company.changed, company.head).ok());
  snapshot = *builder.Build({});
  place = *snapshot->FindKey("abcdefgh");
  CHECK(snapshot->DefaultsOf(place).size() == 2);
}
