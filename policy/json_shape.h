// JsonShape: what a text must be to count as JSON of a schema (json-schema.org, draft 2020-12, its validation). A pure value, judged whole.
//
// Honoured: type, const, enum; allOf, anyOf, oneOf, not, if/then/else, dependentSchemas; properties, patternProperties,
// additionalProperties, propertyNames, required, dependentRequired, min- and maxProperties; items, prefixItems, contains, min- and
// maxContains, min- and maxItems, uniqueItems; minimum, maximum, exclusive ones, multipleOf; minLength and maxLength (code points), pattern
// (RE2's syntax, found anywhere), format (asserted: date, time, date-time, uuid, email, hostname, ipv4, ipv6, uri); $ref within the schema,
// also to what it stands in, $defs. Annotations are skipped; all else ($dynamicRef, unevaluatedProperties, …) is refused by name.
// Immutable; any thread.
#pragma once

#include <memory>
#include <string_view>

#include "base/status.h"
#include "policy/reply_shape.h"

namespace tollgate::policy {

struct JsonSchema;

class JsonShape final : public ReplyShape {
 public:
  static constexpr std::size_t kTextBytesMax = 4 << 20;  // A longer text breaks every shape.

  // At most 32 KiB. INVALID_ARGUMENT that names the place in the schema and the remedy. `true`: any JSON.
  static absl::StatusOr<std::shared_ptr<const JsonShape>> Compile(std::string_view schema);

  // Empty if the text is JSON of this shape, white space around it allowed; else what is wrong, in one word and without content: "json" (it
  // is none, or a key comes twice), "size" (too long, or too much to compare), or the keyword of the schema ("type", "required", …; "false"
  // where the schema allows nothing). Linear in the text for each alternative, pattern and value of an enum, half a second or so at most.
  std::string_view Breaks(std::string_view text) const override;
  std::string Why(std::string_view text) const override;
  bool MayBecome(std::string_view begin) const override;  // Whether JSON may begin so, of any shape.
  Reads reads() const override { return Reads::kWritten; }
  const char* detector() const override { return "not_json"; }

 private:
  explicit JsonShape(std::shared_ptr<const JsonSchema> schema) : schema_(std::move(schema)) {}

  const std::shared_ptr<const JsonSchema> schema_;
};

}  // namespace tollgate::policy
