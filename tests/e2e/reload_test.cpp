// Policies that change while requests run: every answer is that of one version, whole, and none fails for it.
#include <catch2/catch_test_macros.hpp>

#include <map>
#include <set>

#include <fmt/format.h>

#include "tests/e2e/support/admin.h"
#include "tests/e2e/support/ask.h"
#include "tests/e2e/support/books.h"

namespace {

using namespace tollgate::e2e;
namespace v1 = tollgate::v1;

constexpr int kVersions = 12, kThreads = 4, kTerms = 10'000;

// Version `version` of the list, in a file of its own: alpha stands first and omega last; even and odd are in every second one.
std::string Policy(int version) {
  std::string out = fmt::format(
      "version: 1\nname: test\nlists: {{words: {{file: lists/words.txt}}}}\nrules:\n"
      "  - {{id: words, where: {{direction: output}}, detect: {{list: words}}, do: replace, replacement: '[{}]'}}\n"
      "--- # file: lists/words.txt\nalpha\n",
      version);
  for (int term = 0; term < kTerms; ++term) out += fmt::format("term{}v{}\n", term, version);
  return out + (version % 2 == 0 ? "even\n" : "odd\n") + "omega\n";
}

// What thread `thread` asks for, and what it gets where that version judges.
std::string Prompt(int thread) { return fmt::format("!pace_ms 1\n!say thread {} says alpha even odd or omega", thread); }
std::string Reply(int thread, int version) {
  const std::string label = fmt::format("[{}]", version);
  return fmt::format("thread {} says {} {} {} or {}", thread, label, version % 2 == 0 ? label : "even", version % 2 == 0 ? "odd" : label,
                     label);
}

// The thread and the version of an answer; {-1, -1} if it is not wholly that of one.
std::pair<int, int> WhoseIs(const Answer& answer) {
  const std::size_t label = answer.text.find('[');
  if (!answer.done || !answer.text.starts_with("thread ") || label == std::string::npos) return {-1, -1};
  const int thread = std::atoi(answer.text.c_str() + 7), version = std::atoi(answer.text.c_str() + label + 1);
  return answer.text == Reply(thread, version) ? std::pair(thread, version) : std::pair(-1, -1);
}

// In force by one step, or stored first.
void Put(Admin& admin, int version) {
  v1::PutPolicyRequest request;
  request.set_org("acme");
  request.set_name("test");
  request.set_yaml(Policy(version));
  request.set_store_only(version % 3 == 0);
  const v1::StoredPolicy stored = admin.Call<v1::Policy>(&v1::Policy::Stub::Put, request);
  if (!request.store_only()) return;
  v1::ActivatePolicyRequest activate;
  activate.set_org("acme");
  activate.set_name("test");
  activate.set_version(stored.version());
  admin.Call<v1::Policy>(&v1::Policy::Stub::Activate, activate);
}

}  // namespace

TEST_CASE("A list that is changed and put in force again and again under load: every answer is by one of them, whole, and none fails") {
  Installation installation;
  Gateway gateway(installation);
  const Ports ports = PortsOf(gateway);
  Admin admin(gateway, installation.owner_key());
  const Company company = MakeCompany(admin);
  const auto judges = [&](int version) {
    const Answer answer = Ask(ports, Surface::kGrpcUnary, {.key = company.key, .prompt = Prompt(0)});
    return WhoseIs(answer) == std::pair(0, version);
  };
  Put(admin, 0);
  REQUIRE(Eventually([&] { return judges(0); }));

  Load load(ports, kThreads, [&](int thread, int number) {
    return std::pair(kSurfaces[(thread + number) % 4], Question{.key = company.key, .prompt = Prompt(thread)});
  });
  for (int version = 1; version <= kVersions; ++version) {
    INFO("version " << version);
    Put(admin, version);
    REQUIRE(Eventually([&] { return judges(version); }));
    // Once it judges one request it judges all that begin after that: of these answers at most one a thread began before.
    const int so_far = load.answered();
    REQUIRE(Eventually([&] { return load.answered() >= so_far + 2 * kThreads; }));
  }
  load.Stop();

  std::map<int, int> last;                          // By thread: the version of its last answer.
  std::map<int, std::vector<std::string>> answers;  // By version: the requests that it judged.
  for (const Answer& answer : load.answers()) {
    INFO("code " << answer.code << " " << answer.reason << " " << answer.message << ": " << answer.text);
    const auto [thread, version] = WhoseIs(answer);
    REQUIRE(version >= 0);
    CHECK(version >= last[thread]);  // A thread asks one request after the other, and versions do not come back.
    last[thread] = version;
    answers[version].push_back(answer.request_id);
  }
  CHECK(last.size() == kThreads);
  std::set<std::string> digests;
  for (int version = 1; version <= kVersions; ++version) {
    INFO("version " << version);
    REQUIRE(answers[version].size() >= kThreads);
    const std::string first = StoryOf(admin, answers[version].front()).request.request().policy_digest();
    CHECK(first == StoryOf(admin, answers[version].back()).request.request().policy_digest());
    digests.insert(first);
  }
  CHECK(digests.size() == kVersions);
  CHECK(Books(installation).Check() == "");
}
