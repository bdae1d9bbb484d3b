// Grammars that an output must follow, in GBNF (github.com/ggml-org/llama.cpp/blob/master/grammars/README.md), and what of it is allowed.
#pragma once

#include <string_view>

#include "base/status.h"

namespace tollgate::inference {

// One JSON object, in any order and nesting. White space is bounded, so that a model cannot pad for ever. Strings escape only what JSON
// demands, so that whoever searches the text finds what a reader of the JSON will see.
std::string_view JsonGrammar();

// INVALID_ARGUMENT, naming the rule or the place, for what is no GBNF or could hurt the engine: more than 16 KiB or 512 rules, a rule that
// refers to itself (through others too), parentheses nested deeper than 32, repetitions that multiply to more than 10,000, more than 65,536
// places once references and repetitions are written out, tokens by number. Linear in the text.
absl::Status CheckGrammar(std::string_view gbnf);

}  // namespace tollgate::inference
