// All messages of one author: same role, same name, whatever others said between them. A value that is split over two turns is still that
// value, so they are judged together; what different authors wrote never is.
//
// A seam is where the text of one message ends and that of its author's next one begins, with nothing between. What lies across it counts
// as a hit if
//   - it begins and ends at most kSeamBytes from it;
//   - no hit of the same detector lies inside it in one message: a value that is whole by itself does not grow into the next message.
//     (Keywords may, and patterns without a longest match by 16 bytes and more: a key's rest is still the key, and a word behind it none.)
//   - its rule does not say `as_written`.
// Pure; cost: that of scanning the texts one by one, and again up to kSeamBytes on both sides of each seam.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "policy/program.h"
#include "policy/pseudonyms.h"
#include "policy/resolver.h"
#include "policy/verdict.h"

namespace tollgate::policy {

inline constexpr std::int64_t kSeamBytes = 4096;

// The messages of each author, by their places in `prompt`, ascending; the authors in the order of their first message. Calls and tools,
// and what stands behind the conversation, are apart from it.
std::vector<std::vector<std::size_t>> RunsOf(std::span<const Message> prompt);

// All hits of the texts one by one and across their seams, ordered by Program::HitBefore. Offsets are of the texts joined. Where `effort`
// is over, some of them.
std::vector<Hit> FindInRun(const Program& program, std::span<const std::string> texts, const Program::Selection& selection,
                           Effort* effort = nullptr);

// What takes the place of some bytes of one text.
struct TextEdit {
  std::int64_t begin = 0, end = 0;
  std::string text;
  std::string hidden = {};  // In its place where another edit shares some of the bytes: it shows nothing of them.
  std::uint32_t rule = 0;
  bool alone = true;  // As Resolver::Edit.
};

// The edits of the joined texts, for each text. Of one that runs over several texts the first gets the replacement. Pseudonyms are made in
// `pseudonyms`, of spans that no other rule hit and that are not encoded.
std::vector<std::vector<TextEdit>> EditsByText(const Program& program, std::span<const std::string> texts,
                                               std::span<const Resolver::Edit> edits, Pseudonyms& pseudonyms);

// `text` with the edits made; they are ascending, disjoint and inside it.
std::string ApplyTextEdits(std::string_view text, std::span<const TextEdit> edits);

}  // namespace tollgate::policy
