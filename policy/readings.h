// Results of tools that have a second reading (json_parts.h): both are judged, and what either judgement takes out of the text is
// afterwards in neither. Pure; thread-safe; linear in the text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "policy/message_runs.h"
#include "policy/verdict.h"

namespace tollgate::policy {

// Places in `prompt`: of a result, and of its second reading.
struct ReadTwice {
  std::size_t written = 0, read = 0;
};
// INTERNAL if what is aside and a tool's is not the second reading of each such result before it, in their order: nobody would know then
// what its edits are to.
absl::StatusOr<std::vector<ReadTwice>> ReadTwiceIn(std::span<const Message> prompt);

// The edits of `json` as it is written together with those of its second reading, as edits of what is written: ascending and disjoint. What
// two of them share goes as in the Resolver: the one that begins first says what stands there, and shows nothing of it unless both are one
// rule's and of the same bytes. An edit of a part of an escape is of the whole escape; what it puts into a string is escaped.
// REQUIRES: CutJson reads `json`.
std::vector<TextEdit> EditsOfBoth(std::string_view json, std::span<const TextEdit> written, std::span<const TextEdit> read);

// Where the spans of the second reading are written: with the whole of an escape that they have a part of. REQUIRES: as EditsOfBoth.
std::vector<std::pair<std::int64_t, std::int64_t>> AsWritten(std::string_view json,
                                                             std::span<const std::pair<std::int64_t, std::int64_t>> spans);

}  // namespace tollgate::policy
