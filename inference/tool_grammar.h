// A grammar that holds an output to calls of tools, with arguments that satisfy the functions' schemas.
#pragma once

#include <span>
#include <string>

#include "base/status.h"
#include "inference/schema_part.h"
#include "inference/types.h"

namespace tollgate::inference {

// The words in which a forced call is written: the model's own, but where those hold no JSON that a grammar could be held to by itself
// (DeepSeek's), plain JSON as Llama's.
ToolStyle ForcedStyle(ToolStyle style);

// A function to whose calls an output is held. `strict`: all of its schema is enforced, or it is refused.
struct ForcedTool {
  std::string name;
  std::string parameters;
  bool strict = false;
};

// GBNF: one call of one of `tools`, or up to 16 if `several`, in ForcedStyle(style). `in_thought`: the output begins within a thought,
// which comes first. `whole` of the result: arguments satisfy all of the functions' schemas. INVALID_ARGUMENT names the function, the place
// in its schema and the remedy. Bounds: json_schema.h's, for all together.
absl::StatusOr<SchemaGrammar> ToolGrammar(ToolStyle style, std::span<const ForcedTool> tools, bool several, bool in_thought);

// The output is either: ToolGrammar's calls, or what `form` describes (of json_schema.h, or grammar.h's JSON).
SchemaGrammar CallsOrForm(SchemaGrammar calls, const SchemaGrammar& form);

}  // namespace tollgate::inference
