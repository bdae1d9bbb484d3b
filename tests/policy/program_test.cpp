#include "policy/program.h"
#include "policy/rule_yaml.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

struct Made {
  std::vector<Rule> rules;
  std::unique_ptr<const Program> input, output;
};

std::unique_ptr<Made> Make(const std::string& rules) {
  auto out = std::make_unique<Made>();
  const PolicySource source{"t", "version: 1\nname: t\nrules:\n" + rules};
  const absl::Status read = ReadPolicy(source, out->rules);
  INFO(base::Message(read));
  REQUIRE(read.ok());
  for (const bool direction : {false, true}) {
    auto program = Program::Build(out->rules, direction);
    REQUIRE(program.ok());
    (direction ? out->output : out->input) = *std::move(program);
  }
  return out;
}

std::string Hits(const Program& program, const Subject& subject, Role role, const std::string& text) {
  std::string out;
  for (const Hit& hit : program.FindAll(text, program.Select(subject, role))) {
    out += (out.empty() ? "" : " ") + program.rules()[hit.rule].id + ":" +
           text.substr(static_cast<std::size_t>(hit.begin), static_cast<std::size_t>(hit.end - hit.begin));
  }
  return out;
}

}  // namespace

TEST_CASE("Rules act where they say: direction, role and scope") {
  const auto made = Make(
      "  - {id: all, detect: {regex: 'a\\d'}, do: flag}\n"
      "  - {id: in, where: {direction: input}, detect: {regex: 'a\\d'}, do: flag}\n"
      "  - {id: out, where: {direction: output}, detect: {regex: 'a\\d'}, do: flag}\n"
      "  - {id: tool, where: {roles: [tool, system]}, detect: {regex: 'a\\d'}, do: flag}\n"
      "  - {id: search, where: {team: [search, ads], model: m}, detect: {regex: 'a\\d'}, do: flag}\n");
  const Subject search{"acme", "search", "p", "k", "m"}, other{"acme", "search", "p", "k", "n"};
  CHECK(Hits(*made->input, other, Role::kUser, "a1") == "all:a1 in:a1");
  CHECK(Hits(*made->input, other, Role::kTool, "a1") == "all:a1 in:a1 tool:a1");
  CHECK(Hits(*made->input, search, Role::kUser, "a1") == "all:a1 in:a1 search:a1");
  CHECK(Hits(*made->output, search, Role::kAssistant, "a1") == "all:a1 out:a1 search:a1");
  CHECK(Hits(*made->output, {}, Role::kAssistant, "a1") == "all:a1 out:a1");
}

TEST_CASE("Hits come by where they begin, a block before others") {
  const auto made = Make(
      "  - {id: r, detect: {regex: 'ab'}, do: redact}\n"
      "  - {id: k, detect: {keywords: [abx, b], whole_word: false}, do: redact}\n"
      "  - {id: s, detect: {regex: 'abx?'}, do: block}\n");
  CHECK(Hits(*made->input, {}, Role::kUser, "b abx") == "k:b s:abx r:ab k:abx");
}

TEST_CASE("A trigger word never hides a match") {
  const auto made = Make(
      "  - {id: lit, detect: {regex: '(?i)Secret-\\d'}, do: flag}\n"
      "  - {id: alt, detect: {regex: '(?:foo|b[aA]r)[0-9]'}, do: flag}\n"
      "  - {id: num, detect: {personal_data: card}, do: flag}\n");
  CHECK(Hits(*made->input, {}, Role::kUser, "sEcReT-1 bAr2 foo3 FOO4") == "lit:sEcReT-1 alt:bAr2 alt:foo3");
  CHECK(Hits(*made->input, {}, Role::kUser, "4111 1111 1111 1111") == "num:4111 1111 1111 1111");
}

TEST_CASE("A letter is no trigger word: it is on every page") {
  const auto made = Make(
      "  - {id: sex, detect: {regex: '\\d{4}[MFX<]\\d{4}'}, do: flag}\n"
      "  - {id: at, detect: {regex: '[a-z]@[a-z]'}, do: flag}\n");
  REQUIRE(made->input->sources().size() == 2);
  CHECK_FALSE(made->input->sources()[0].needs_trigger);
  CHECK(made->input->sources()[1].needs_trigger);
  CHECK(Hits(*made->input, {}, Role::kUser, "a@b 1234m5678 1234F5678") == "at:a@b sex:1234F5678");
}

TEST_CASE("No rules, no hits") {
  const auto made = Make("  - {id: in, where: {direction: input}, detect: {regex: 'a\\d'}, do: flag}\n");
  CHECK(made->output->Select({}, Role::kAssistant).empty());
  CHECK(Hits(*made->output, {}, Role::kAssistant, "a1").empty());
}

}  // namespace tollgate::policy
