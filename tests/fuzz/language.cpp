// Tests run too (RunTests::kYes): they are part of the language. A policy that compiles judges one text that has something for many
// detectors.
#include <array>

#include "policy/bundle.h"
#include "policy/policy_set.h"
#include "tests/fuzz/properties.h"
#include "tests/fuzz/streamed.h"

namespace tollgate::fuzz {

using policy::Message;
using policy::PolicySet;

void Language(std::string_view input) {
  const policy::PolicySource source{"fuzz.yaml", std::string(input)};
  const auto bundle = policy::ReadBundle("fuzz.yaml", input);
  if (bundle.ok())
    TG_CHECK((std::string(policy::Bundle::kSignedPrefix) + source.yaml).starts_with(bundle->signed_bytes),
             "a bundle signs what it does not hold");
  const auto made = PolicySet::Compile({&source, 1});
  if (!made.ok()) {
    TG_CHECK(made.status().code() == absl::StatusCode::kInvalidArgument, "a policy is refused with another status");
    TG_CHECK(base::Message(made.status()).starts_with("fuzz.yaml"), "a policy is refused without its place");
    return;
  }
  const std::string text =
      "Call 415-555-2671, jane.doe@example.com: falcon f\xd0\xb0lcon <<42>> 4111 1111 1111 1111 amFuZUBleGFtcGxlLmNvbQ==\n\tabc x-1";
  (void)(*made)->Describe();
  const Message prompt[] = {{policy::Role::kSystem, "", {"Be kind."}}, {policy::Role::kUser, "ann", {text, "abc"}}};
  TG_CHECK((*made)->Inspect({}, prompt).ok(), "a good prompt is not judged");
  StreamAndCompare(**made, text, [] { return 3; });
}

}  // namespace tollgate::fuzz
