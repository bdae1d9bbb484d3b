// What policy does beside hiding and blocking, on every surface: pseudonyms that come back, another model, a longer system prompt, a
// reason.
#include <catch2/catch_test_macros.hpp>

#include <cctype>
#include <functional>

#include <fmt/format.h>

#include "tests/e2e/support/admin.h"
#include "tests/e2e/support/ask.h"
#include "tests/e2e/support/books.h"

namespace {

using namespace tollgate::e2e;
namespace v1 = tollgate::v1;

struct World {
  World() : admin(gateway, installation.owner_key()), company(MakeCompany(admin)) {}
  Finished Cli(std::vector<std::string> words) {
    words.insert(words.end(), {"--admin", fmt::format("127.0.0.1:{}", gateway.admin_port()), "--key", installation.owner_key()});
    return RunTollgate(std::move(words));
  }
  // The policy is in force once a prompt gets what it then gets.
  void Put(const std::string& rules, const std::string& prompt, const std::function<bool(const Answer&)>& in_force) {
    admin.PutPolicy("version: 1\nname: test\nrules:\n" + rules);
    REQUIRE(Eventually([&] { return in_force(Ask(ports, Surface::kHttpPlain, {.key = company.key, .prompt = prompt})); }));
  }
  Story LastStory(const Answer& answer) { return StoryOf(admin, answer.request_id); }

  Installation installation;
  Gateway gateway{installation};
  Ports ports = PortsOf(gateway);
  Admin admin;
  Company company;
};

}  // namespace

TEST_CASE(
    "Pseudonyms: on every surface the model gets them, the caller gets the values, and what they stand for can be told and forgotten") {
  World world;
  world.Put(
      "  - {id: mail, detect: {personal_data: email}, do: pseudonymise}\n"
      "  - {id: out, where: {direction: output}, detect: {personal_data: email}, do: redact}\n",
      "!say eve@cor\\|p.example", [](const Answer& answer) { return answer.text == "[EMAIL]"; });
  std::string pseudonym;
  for (const Surface surface : kSurfaces) {
    INFO(Name(surface));
    const Answer answer =
        Ask(world.ports, surface, {.key = world.company.key, .prompt = "write to ann@corp.example now", .end_user = "anna"});
    REQUIRE(answer.done);
    CHECK(answer.text == "write to ann@corp.example now");
    CHECK(answer.seen.find("[EMAIL_") == std::string::npos);
    const Story story = world.LastStory(answer);
    CHECK(story.prompt == "write to ann@corp.example now");
    CHECK(story.text == "write to ann@corp.example now");
    REQUIRE(story.prompt_used.starts_with("write to [EMAIL_"));
    CHECK(story.request.request().pseudonyms() == 1);
    CHECK(story.end.pseudonyms_restored() == 1);
    const std::string its = story.prompt_used.substr(9, story.prompt_used.find(']') - 8);
    CHECK((pseudonym.empty() || pseudonym == its));  // One value, one pseudonym.
    pseudonym = its;
  }
  // Another request's pseudonym comes back to nobody.
  const Answer foreign = Ask(world.ports, Surface::kGrpcStream, {.key = world.company.key, .prompt = "who is " + pseudonym + "?"});
  CHECK(foreign.text == "who is " + pseudonym + "?");

  const Finished shown = world.Cli({"audit", "pseudonym", "show", pseudonym, "--team", "red", "--org", "acme", "--reason", "a test"});
  CHECK(shown.out == pseudonym + " stands for\n  | ann@corp.example\n");
  const Finished erased =
      world.Cli({"audit", "pseudonym", "erase", "--end-user", "anna", "--team", "red", "--org", "acme", "--reason", "a test"});
  CHECK(erased.out == "1 pseudonym of team red can be told no more\n");
  CHECK(world.Cli({"audit", "pseudonym", "show", pseudonym, "--team", "red", "--org", "acme", "--reason", "a test"}).code != 0);
  Books books(world.installation);
  CHECK(books.Check() == "");
  CHECK(books.Count("SELECT count(*) FROM audit.record WHERE kind = 8") == 1);
  CHECK(
      books.Count("SELECT count(*) FROM audit.record WHERE position('ann@corp'::bytea IN message) + coalesce(position('ann@corp'::bytea IN "
                  "content), 0) > 0") == 0);
}

TEST_CASE("Actions on the request: another model, an addition to the system prompt and a justification, on every surface") {
  World world;
  REQUIRE(world.Cli({"models", "add", "second", "--engine", "scripted", "--context", "4000"}).code == 0);
  REQUIRE(world.Cli({"prices", "set", "second", "--input", "0.10", "--output", "0.40"}).code == 0);
  REQUIRE(world.Cli({"models", "load", "second"}).code == 0);
  world.Put(
      "  - {id: code, detect: {code: {lines: 0}}, do: {route: second}}\n"
      "  - {id: tone, detect: {keywords: tax}, do: {append_system: No tax advice.}}\n"
      "  - {id: pay, detect: {keywords: payroll}, do: justification, because: Pay is confidential.}\n",
      "int main() {", [](const Answer& answer) { return answer.header("x-tollgate-route") == "rule=code; model=second"; });
  for (const Surface surface : kSurfaces) {
    INFO(Name(surface));
    const Answer code = Ask(world.ports, surface, {.key = world.company.key, .prompt = "return total(a);"});
    REQUIRE(code.done);
    CHECK(code.header("x-tollgate-route") == "rule=code; model=second");
    const Story routed = world.LastStory(code);
    CHECK(routed.request.request().model() == "second");
    CHECK(routed.request.request().routed_by() == "code");

    const Answer tax = Ask(world.ports, surface, {.key = world.company.key, .prompt = "my tax"});
    REQUIRE(tax.done);
    CHECK(world.LastStory(tax).request.request().input_verdict().rules(0).effect() == "append_system");

    const Answer refused = Ask(world.ports, surface, {.key = world.company.key, .prompt = "the payroll"});
    CHECK((refused.reason == "JUSTIFICATION_NEEDED" || refused.reason == "justification_needed"));
    CHECK(refused.message.find("Pay is confidential.") != std::string::npos);
    const Answer justified =
        Ask(world.ports, surface, {.key = world.company.key, .prompt = "the payroll", .justification = "Audit of November."});
    REQUIRE(justified.done);
    CHECK(world.LastStory(justified).request.request().justified());
  }
  CHECK(Books(world.installation).Check() == "");
}

TEST_CASE("Terms, rates and approvals: refused with the remedy, passed with it, on every surface, and on record") {
  World world;
  world.Put(
      "  - {id: terms, where: {roles: [user]}, detect: {keywords: rules}, do: {terms: house@1}}\n"
      "  - {id: few, detect: {keywords: report}, do: {rate_limit: {requests: 4, per: day, by: end_user}}}\n"
      "  - {id: dump, detect: {keywords: dump}, do: approval}\n",
      "the rules", [](const Answer& answer) { return answer.reason == "end_user_needed"; });
  const auto ask = [&](Surface surface, Question question) {
    question.key = world.company.key;
    return Ask(world.ports, surface, question);
  };
  const auto reason = [](const Answer& answer) {
    std::string upper;
    for (const char c : answer.reason) upper += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return answer.done ? "DONE" : upper;
  };
  std::string asked;  // The request whose prompt waits.
  for (const Surface surface : kSurfaces) {
    INFO(Name(surface));
    const std::string user = std::string("user of ") + Name(surface);
    const Answer refused = ask(surface, {.prompt = "the rules", .end_user = user});
    CHECK(reason(refused) == "TERMS_NOT_ACCEPTED");
    CHECK(refused.message.find("house@1") != std::string::npos);
    const Answer accepted = ask(surface, {.prompt = "the rules", .end_user = user, .accept_terms = "house@1"});
    REQUIRE(accepted.done);
    CHECK(world.LastStory(accepted).request.request().terms_accepted() == "house@1");
    CHECK(reason(ask(surface, {.prompt = "the rules", .end_user = user})) == "DONE");

    const Answer waits = ask(surface, {.prompt = "dump it"});
    CHECK(reason(waits) == "APPROVAL_NEEDED");
    const std::size_t at = waits.message.find("approve ");
    REQUIRE(at != std::string::npos);
    const std::string id = waits.message.substr(at + 8, 36);
    if (asked.empty()) asked = waits.request_id;
    CHECK(world.Cli({"policy", "approvals", "--org", "acme"}).out.find(asked) != std::string::npos);
    const Finished shown = world.Cli({"audit", "show", asked, "--content", "--reason", "an approval"});
    INFO(shown.err);
    CHECK(shown.out.find("user: dump it") != std::string::npos);
    const Finished approved = world.Cli({"policy", "approve", id, "--org", "acme", "--reason", "a test"});
    INFO(approved.err);
    CHECK(approved.out.find("may pass rule dump for one request") != std::string::npos);
    CHECK(reason(ask(surface, {.prompt = "dump it all"})) == "APPROVAL_NEEDED");  // Another prompt is not what was approved.
    const Answer passed = ask(surface, {.prompt = "dump it", .max_tokens = 50});
    REQUIRE(passed.done);
    CHECK(world.LastStory(passed).request.request().approvals_size() == 1);
    const Answer once = ask(surface, {.prompt = "dump it"});
    CHECK(reason(once) == "APPROVAL_NEEDED");
    asked = once.request_id;
  }
  int done = 0;
  for (int i = 0; i < 8; ++i) done += ask(kSurfaces[i % 4], {.prompt = "a report", .end_user = "carl"}).done ? 1 : 0;
  CHECK(done >= 4);  // Midnight may come meanwhile.
  CHECK(done < 8);
  CHECK(Books(world.installation).Check() == "");
}
