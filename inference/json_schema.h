// JSON Schema (json-schema.org, draft 2020-12) as a grammar that an output is held to.
//
// Every output that ends by itself satisfies the schema. It may be narrower than the schema: properties come in the order in which they are
// declared, none that is not declared; numbers have at most 16 digits before and behind the point; strings escape only what JSON demands.
//
// Honoured: type (also several), properties, required, additionalProperties, items, minItems, maxItems, minLength, maxLength, minimum,
// maximum, exclusiveMinimum, exclusiveMaximum (number_rules.h), format (date, time, date-time, uuid), enum, const, anyOf, oneOf (read as
// anyOf), allOf of one, $ref within the schema, $defs. Annotations (title, description, default, examples …) are skipped. All else is
// refused by name, and so is a schema that refers to itself.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace tollgate::inference {

inline constexpr std::size_t kSchemaBytesMax = 32 << 10;
inline constexpr std::int64_t kSchemaLengthMax = 1000;  // Of one of the four lengths.

// GBNF, or INVALID_ARGUMENT that names the place in the schema and the remedy. Bounded: 32 KiB of schema, 32 levels, 1,000 schemas in it,
// 2,000 repetitions, alternatives that multiply to 500, 128 KiB of grammar. Some hundred microseconds at most.
absl::StatusOr<std::string> JsonSchemaGrammar(std::string_view schema);

}  // namespace tollgate::inference
