// JsonShape: what a text must be to count as JSON of a schema (json-schema.org, draft 2020-12, a part of it). A pure value, judged whole.
//
// Honoured: type (also several), properties, required, additionalProperties, items, minItems, maxItems, minLength, maxLength (code points),
// format (date, time, date-time, uuid), enum, const, anyOf, oneOf, allOf, $ref within the schema, $defs. Annotations are skipped, all else
// is refused by name, and so is a schema that refers to itself: the same schemas as JSON Schema mode takes. Immutable; any thread.
#pragma once

#include <memory>
#include <string_view>

#include <boost/json/value.hpp>

#include "base/status.h"
#include "policy/reply_shape.h"

namespace tollgate::policy {

class JsonShape final : public ReplyShape {
 public:
  static constexpr std::size_t kSchemaBytesMax = 32 << 10;
  static constexpr std::size_t kTextBytesMax = 4 << 20;  // A longer text breaks every shape.

  // INVALID_ARGUMENT that names the place in the schema and the remedy. `true`: any JSON.
  static absl::StatusOr<std::shared_ptr<const JsonShape>> Compile(std::string_view schema);

  // Empty if the text is JSON of this shape, white space around it allowed; else what is wrong, in one word and without content: "json" (it
  // is none, or a key comes twice), "size" (too long, or too much to compare), or the keyword of the schema ("type", "required", …). Linear
  // in the text for each alternative and value of an enum, half a second at most.
  std::string_view Breaks(std::string_view text) const override;
  std::string Why(std::string_view text) const override;
  bool MayBecome(std::string_view begin) const override;  // Whether JSON may begin so, of any shape.
  const char* detector() const override { return "not_json"; }

 private:
  explicit JsonShape(boost::json::value schema) : schema_(std::move(schema)) {}

  const boost::json::value schema_;
};

}  // namespace tollgate::policy
