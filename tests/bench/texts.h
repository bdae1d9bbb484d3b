// Texts for benchmarks of the policy room: made from a seed, so that every part is new to the matchers' caches and the same in every run;
// and two corpora that nobody made for this, out of the repository. One thread.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

namespace tollgate::bench {

std::string Word();
std::string Prose(std::size_t bytes);
std::string Code(std::size_t bytes);
std::string Personal(std::size_t bytes);  // Prose with something that a rule looks for, or all but, in every line.
std::string Encoded(std::size_t bytes);   // Prose with what mail and tickets paste: base64 of prose, and percent-encoded links.

// The next piece of the repository's own pages, of its own sources: from the start again when they end.
std::string Pages(std::size_t bytes);
std::string Sources(std::size_t bytes);

using MakeText = std::string (*)(std::size_t);  // At least so many bytes; code points are whole.
inline constexpr std::pair<const char*, MakeText> kCorpora[] = {{"prose", Prose}, {"code", Code}, {"pii", Personal}};
inline constexpr std::pair<const char*, MakeText> kFound[] = {{"pages", Pages}, {"sources", Sources}};

}  // namespace tollgate::bench
