// Which language a text is in: by its script, and where several languages share one, by their most frequent words and their own letters.
//
// Deterministic, and small: no model, no list that anybody trained. It knows the languages of LanguageCodes(), and says nothing (kUnknown)
// where there is too little text, or none of these fits clearly: names, code, numbers, another language. Its accuracy on sentences of our
// own, kept apart from its words, is in docs/detectors.md. Pure; any thread. Cost: one pass, about 20 ns a letter.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace tollgate::policy {

// Which of LanguageCodes(), by index.
using Language = std::uint8_t;
inline constexpr std::size_t kLanguages = 29;
inline constexpr Language kUnknown = kLanguages;

// ISO 639-1, ascending: "ar", "bg", "cs" …
std::span<const std::string_view> LanguageCodes();
std::optional<Language> LanguageByCode(std::string_view code);

// How many letters of a text are in which language, and last in none that is known. It is cut at its line ends, shorter lines taken
// together until they have kStretchLetters (an ideograph or a syllable counts for three): one paragraph in another language is seen in a
// long text.
inline constexpr std::int64_t kStretchLetters = 24;
using LanguageLetters = std::array<std::int64_t, kLanguages + 1>;
void AddLanguages(std::string_view text, LanguageLetters& letters);

}  // namespace tollgate::policy
