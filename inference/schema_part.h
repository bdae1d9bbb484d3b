// What of a JSON Schema an output can be held to, where its author did not ask for all of it (`strict`).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace tollgate::inference {

// `whole`: every output satisfies the schema. False: something of it is passed over, or may be.
struct SchemaGrammar {
  std::string gbnf;
  bool whole = true;
};

// json_schema.h's grammar where there is one for the schema. Else, unless `strict`, that of the part of it which can be enforced: whatever
// satisfies the schema and is within json_schema.h's narrower form can still be written, but where a union stands beside properties.
// INVALID_ARGUMENT as json_schema.h; without `strict` only for what is no schema, and beyond its bounds, lengths aside. Pure.
absl::StatusOr<SchemaGrammar> HoldToSchema(std::string_view schema, bool strict);

// The part, as a schema: keywords that json_schema.h refuses are left out, a reference that comes back to itself becomes `true`, unions
// beside what else describes the value become its type, lengths above `longest` are none. What is no schema stays what it is. "true" if
// nothing is left. INVALID_ARGUMENT if it is no JSON or too long.
absl::StatusOr<std::string> EnforceablePart(std::string_view schema, std::int64_t longest);

// Lengths up to here are kept where all of them together would be too many.
inline constexpr std::int64_t kShortLengthMax = 16;

}  // namespace tollgate::inference
