// A grammar that holds an output to calls of tools, with arguments that satisfy the functions' schemas.
#pragma once

#include <span>
#include <string>

#include "base/status.h"
#include "inference/types.h"

namespace tollgate::inference {

// The words in which a forced call is written: the model's own, but where those hold no JSON that a grammar could be held to by itself
// (DeepSeek's), plain JSON as Llama's.
ToolStyle ForcedStyle(ToolStyle style);

// GBNF: one call of one of `tools`, or up to 16 if `several`, in ForcedStyle(style). `in_thought`: the output begins within a thought,
// which comes first. INVALID_ARGUMENT names the function, the place in its schema and the remedy. Bounds: json_schema.h's, for all
// together.
absl::StatusOr<std::string> ToolGrammar(ToolStyle style, std::span<const ToolDefinition> tools, bool several, bool in_thought);

}  // namespace tollgate::inference
