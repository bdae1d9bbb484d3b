// The rules are few of each kind, so that one input is cheap. For some a second opinion is simple: a search for what they hide.
#include <array>
#include <memory>
#include <random>
#include <vector>

#include <fmt/format.h>

#include "policy/policy_set.h"
#include "tests/fuzz/properties.h"
#include "tests/fuzz/streamed.h"

namespace tollgate::fuzz {
namespace {

using policy::PolicySet;

bool Digit(char c) { return c >= '0' && c <= '9'; }

// falcon, and o'neil with any of the marks that read as an apostrophe.
bool HoldsName(std::string_view text) {
  if (text.find("falcon") != std::string_view::npos) return true;
  for (const std::string_view mark :
       {"'", "\u00b4", "\u02b9", "\u02bb", "\u02bc", "\u2018", "\u2019", "\u201a", "\u201b", "\u2032", "\u2039", "\u203a", "\uff07"}) {
    if (text.find(fmt::format("o{}neil", mark)) != std::string_view::npos) return true;
  }
  return false;
}

// x[0-9]{3,5}y
bool HoldsNumber(std::string_view text) {
  for (std::size_t x = text.find('x'); x != text.npos; x = text.find('x', x + 1)) {
    std::size_t end = x + 1;
    while (end < text.size() && Digit(text[end])) ++end;
    if (end < text.size() && text[end] == 'y' && end - x - 1 >= 3 && end - x - 1 <= 5) return true;
  }
  return false;
}

bool HoldsNothing(std::string_view) { return false; }

struct Rules {
  const char* yaml;                        // Behind "rules:".
  bool (*holds_hidden)(std::string_view);  // What may not leave.
};

constexpr std::array kRules = {
    Rules{"  - {id: a, detect: {keywords: [falcon, \"o'neil\"], whole_word: false, ignore_case: false}, do: redact}\n", HoldsName},
    Rules{"  - {id: a, detect: {keywords: [falcon, \"o'neil\"], whole_word: false, ignore_case: false}, do: block}\n", HoldsName},
    Rules{"  - {id: a, detect: {regex: 'x[0-9]{3,5}y'}, do: redact}\n", HoldsNumber},
    Rules{"  - {id: a, detect: {regex: 'x[0-9]{3,5}y'}, do: mask, keep_last: 2}\n", HoldsNumber},
    Rules{"  - {id: a, detect: {personal_data: [email, card, iban, phone, ip], decode: both}, do: redact}\n", HoldsNothing},
    Rules{"  - {id: a, detect: {personal_data: all}, do: mask, keep_last: 3}\n", HoldsNothing},
    Rules{"  - {id: a, detect: {secrets: all}, do: hash, salt: 0123456789abcdef}\n", HoldsNothing},
    Rules{"  - {id: a, detect: {unicode: all}, do: redact}\n  - {id: b, detect: {keywords: [abc, New York, York Times]}, do: redact}\n",
          HoldsNothing},
    Rules{"  - {id: a, detect: {regex: '<<[^>]*>>'}, cap: 20, do: redact}\n  - {id: b, detect: {regex: ['(?m)^\\w+:', 'ab$', '\\bz+\\b']}, "
          "cap: 16, do: mask}\n",
          HoldsNothing},
    Rules{"  - {id: ok, detect: {keywords: [jane@example.com, 'a-b']}, do: allow}\n  - {id: a, detect: {personal_data: email, decode: "
          "both}, do: redact}\n"
          "  - {id: b, detect: {regex: '[a-c]{2,6}(?:-[a-c]+)?'}, cap: 32, do: redact, replacement: '#'}\n  - {id: c, detect: {keywords: "
          "stop it}, do: block}\n",
          HoldsNothing},
    Rules{"  - {id: a, detect: {hosts: [acme.example, 127.0.0.1], decode: both}, do: redact}\n  - {id: b, detect: {hosts_except: "
          "ok.example}, do: flag}\n",
          HoldsNothing},
};

const PolicySet& Compiled(std::size_t index) {
  static std::array<std::shared_ptr<const PolicySet>, kRules.size()> sets;
  if (sets[index] == nullptr) {
    const policy::PolicySource source{"fuzz.yaml", fmt::format("version: 1\nname: f\nrules:\n{}", kRules[index].yaml)};
    auto made = PolicySet::Compile({&source, 1});
    TG_CHECK(made.ok(), base::Message(made.status()));
    sets[index] = *std::move(made);
  }
  return *sets[index];
}

}  // namespace

void Stream(std::string_view input) {
  if (input.size() < 2) return;
  const std::size_t index = static_cast<unsigned char>(input[0]) % kRules.size();
  const auto cut = static_cast<unsigned char>(input[1]);
  std::minstd_rand random(cut);
  const std::size_t widest = cut % 4 == 0 ? 1 : cut % 4 == 1 ? 4 : cut % 4 == 2 ? 24 : 400;
  const std::string out = StreamAndCompare(Compiled(index), input.substr(2), [&] { return 1 + random() % widest; });
  TG_CHECK(!kRules[index].holds_hidden(out), "what a rule hides has left");
}

}  // namespace tollgate::fuzz
