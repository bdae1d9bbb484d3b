// Pseudonyms: what stands for a value on its way to the model, and how a reply gets the value back.
//
// A pseudonym is "[LABEL_XXXXXXXX]": eight characters of HMAC-SHA-256 (RFC 2104) of label and value under the tenant's key, in Crockford's
// base 32. The same value gives the same pseudonym under the same key, in every conversation; without the key nobody can try values.
//
// One object holds those that one prompt made. Made by PolicySet::Inspect, constant from then on; any thread. Bounded: kPseudonymsMax
// values of kValueBytesMax.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tollgate::policy {

struct Pseudonym {
  std::string text;     // "[EMAIL_7Q2K9FXM]"
  std::string value;    // The bytes that it stands for, as they were written.
  std::string rule_id;  // That asked for it.
};

class Pseudonyms {
 public:
  static constexpr std::size_t kPseudonymsMax = 10'000;
  static constexpr std::size_t kValueBytesMax = 1024;
  static constexpr std::int64_t kRestoredBytesMax = 1 << 20;  // Of one reply, or one part of it that is filtered by itself.
  static constexpr std::size_t kLabelBytesMax = 32;
  static constexpr std::size_t kBytesMax = kLabelBytesMax + 11;  // Of a pseudonym.

  // Without a key nothing gets a pseudonym: whoever tries out a policy has no tenant's.
  explicit Pseudonyms(std::string key) : key_(std::move(key)) {}

  // What stands for the value. nullopt if it is longer than kValueBytesMax, there are too many, or the same pseudonym stands for another
  // value already (one in 10^12 pairs): the value is then hidden for good.
  std::optional<std::string> Add(std::string_view label, std::string_view value, const std::string& rule_id);

  const std::vector<Pseudonym>& all() const { return all_; }

  // How much of `text` may be used, of the first `bytes` that are free to go: less where a pseudonym of these begins before that and ends
  // behind it, or could once the text goes on.
  std::size_t WholeUpTo(std::string_view text, std::size_t bytes, bool at_end) const;

  // `text` with the values in their places; `json` says that it is JSON text, and so escapes what must be. Tells each. `room`: bytes of
  // values that may still come back; one that has no room stays a pseudonym.
  struct Restored {
    const Pseudonym& pseudonym;
    std::size_t at;          // In `text`.
    std::size_t begin, end;  // Of what is there instead, in what is returned.
  };
  std::string Restore(std::string_view text, bool json, std::int64_t& room, const std::function<void(const Restored&)>& restored) const;

 private:
  const Pseudonym* At(std::string_view text, std::size_t at) const;

  std::string key_;
  std::vector<Pseudonym> all_;
  std::map<std::string, std::size_t, std::less<>> by_text_;
};

}  // namespace tollgate::policy
