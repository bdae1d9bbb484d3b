// What the fuzzers hold for any bytes: each property returns, or ends the process with what it saw. Pure but for a few policies that are
// compiled once a process; one thread.
//
// libFuzzer calls them (target.cpp, preset fuzz, scripts/fuzz); tests/policy/corpus_test.cpp calls those of policy with what lies in
// corpus/, so that whatever a fuzzer found once is tried in every build.
#pragma once

#include <string_view>

namespace tollgate::fuzz {

// A policy: it compiles, or is refused with its place and a remedy. One that compiles judges a text as a stream as it does whole.
void Language(std::string_view input);

// A reply: the first byte chooses the rules, the second how the rest is cut. The stream gives what the whole text gives, at each step the
// beginning of it; nothing that a rule hides is in what leaves; and what is told of replaced spans leads back to the text as it was.
void Stream(std::string_view input);

// A text: its plain form and what is cut and decoded in it do not depend on the pieces, and every byte leads back to where it came from.
void Plain(std::string_view input);

// A file: it is read as a model's or an adapter's, with all that it says of itself inside of it, or refused.
void Gguf(std::string_view input);

}  // namespace tollgate::fuzz
