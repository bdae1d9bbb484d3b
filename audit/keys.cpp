// The root key and what is derived from it, the two lower steps of the hierarchy, and the keys that live in memory only.
// Tested by tests/audit/keys_test.cpp.
#include "audit/keys.h"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include <sys/stat.h>

#include <fmt/format.h>

#include "audit/key_chain.h"
#include "audit/wrap.h"
#include "base/encoding.h"
#include "base/mutex.h"

namespace tollgate::audit {
namespace {

constexpr std::string_view kDevMark = "# tollgate dev";

class MemoryKeys final : public Keys {
 public:
  MemoryKeys(const RootKey& root, const base::Clock& clock) : source_key_(root.Derive("source-hmac")), clock_(clock) {}

  void NewRequestKey(base::TeamId team, base::RequestId request, std::chrono::steady_clock::time_point, Done done) override {
    std::shared_ptr<const RequestKey> key;
    {
      base::Lock lock(mu_);
      auto& day = days_[team];
      if (day == nullptr) {
        day = std::make_shared<DayKey>(team, DayOf(clock_.Wall()), static_cast<std::int32_t>(days_.size()), base::RandomBytes(kKeyBytes),
                                       base::RandomBytes(kKeyBytes));
      }
      key = NewKeyUnder(*day, request);
      keys_[request] = key;
    }
    done(std::move(key));
  }

  absl::StatusOr<std::shared_ptr<const RequestKey>> Find(base::TeamId team, base::RequestId request) override {
    base::Lock lock(mu_);
    const auto found = keys_.find(request);
    if (found == keys_.end() || found->second->team() != team) return base::NotFound("there is no key for this request");
    return found->second;
  }

  void KeepValues(base::TeamId team, const std::string& subject, std::vector<SealedValue> values, std::chrono::steady_clock::time_point,
                  Kept done) override {
    {
      base::Lock lock(mu_);
      for (const SealedValue& value : values) values_.try_emplace({team, value.pseudonym, subject, value.mark}, value);
    }
    done(absl::OkStatus());
  }

  absl::StatusOr<std::vector<std::string>> FindValues(base::TeamId team, const std::string& pseudonym) override {
    base::Lock lock(mu_);
    std::vector<std::string> out;
    std::set<std::string> marks;
    for (auto at = values_.lower_bound({team, pseudonym, "", ""}); at != values_.end(); ++at) {
      if (at->first.team != team || at->first.pseudonym != pseudonym) break;
      if (marks.insert(at->first.mark).second) out.push_back(at->second.sealed);
    }
    if (out.empty()) return NoValue();
    return out;
  }

  absl::StatusOr<Erased> EraseValues(base::TeamId team, ValuesOf by, const std::string& which) override {
    base::Lock lock(mu_);
    Erased out;
    std::set<std::string> marks;
    out.rows = static_cast<std::int64_t>(std::erase_if(values_, [&](const auto& row) {
      const std::string& its = by == ValuesOf::kSubject ? row.first.subject : by == ValuesOf::kPseudonym ? row.first.pseudonym : row.second.mark;
      if (row.first.team != team || its != which) return false;
      marks.insert(row.second.mark);
      return true;
    }));
    out.others = std::count_if(values_.begin(), values_.end(),
                               [&](const auto& row) { return row.first.team == team && marks.contains(row.second.mark); });
    return out;
  }

  std::string SourceHmac(std::string_view source) const override { return SourceMark(source_key_, source); }

 private:
  struct ValueKey {
    base::TeamId team;
    std::string pseudonym, subject, mark;
    auto operator<=>(const ValueKey&) const = default;
  };

  const std::string source_key_;
  const base::Clock& clock_;
  base::Mutex mu_;
  std::map<ValueKey, SealedValue> values_ GUARDED_BY(mu_);
  std::map<base::TeamId, std::shared_ptr<DayKey>> days_ GUARDED_BY(mu_);
  std::map<base::RequestId, std::shared_ptr<const RequestKey>> keys_ GUARDED_BY(mu_);
};

}  // namespace

absl::StatusOr<RootKey> RootKey::Load(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && (info.st_mode & 077) != 0) {
    return base::FailedPrecondition(fmt::format("root key {}: others may read it; run: chmod 600 {}", path, path));
  }
  TG_ASSIGN(std::string text, base::ReadFile(path));
  bool dev = false;
  std::string digits;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line(text.data() + at, end - at);
    if (line.starts_with('#')) {
      dev = dev || line.starts_with(kDevMark);
    } else {
      digits.append(line.substr(0, line.find_last_not_of(" \r\t") + 1));
    }
    at = end + 1;
  }
  base::Wipe(text);
  auto bytes = base::HexDecode(digits);
  base::Wipe(digits);
  if (!bytes.ok() || bytes->size() != kKeyBytes) {
    return base::InvalidArgument(fmt::format("root key {}: expected 64 hex digits; make one with: openssl rand -hex 32", path));
  }
  return RootKey(*std::move(bytes), dev);
}

absl::Status RootKey::Create(const std::string& path, bool dev) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0) return base::AlreadyExists(fmt::format("root key {}: there is a file already", path));
  std::string text =
      fmt::format("{}{}\n", dev ? std::string(kDevMark) + ": for trying out only\n" : "", base::HexEncode(base::RandomBytes(kKeyBytes)));
  const absl::Status written = base::WriteFileAtomically(path, text, 0600);
  base::Wipe(text);
  return written;
}

RootKey RootKey::FromBytes(std::string bytes) {
  TG_CHECK(bytes.size() == kKeyBytes, "a root key has 32 bytes");
  return RootKey(std::move(bytes), false);
}

bool Keys::KnowsKept(base::TeamId, const std::string&, const std::string&) { return false; }

absl::StatusOr<std::vector<std::shared_ptr<const RequestKey>>> Keys::FindAll(base::TeamId team, std::span<const base::RequestId> requests) {
  std::vector<std::shared_ptr<const RequestKey>> out;
  for (const base::RequestId& request : requests) {
    auto key = Find(team, request);
    if (!key.ok() && !absl::IsNotFound(key.status())) return key.status();
    out.push_back(key.ok() ? *std::move(key) : nullptr);
  }
  return out;
}

std::string RootKey::Derive(std::string_view purpose) const {
  return base::HkdfSha256(bytes_, "", fmt::format("tollgate {}", purpose), kKeyBytes);
}

std::string RootKey::id() const { return base::HexEncode(Derive("root-key-id")).substr(0, 16); }

std::int64_t DayOf(base::WallTime t) { return std::chrono::floor<std::chrono::days>(t).time_since_epoch().count(); }

std::string DayText(std::int64_t day) {
  const std::chrono::year_month_day date{std::chrono::sys_days(std::chrono::days(day))};
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                     static_cast<unsigned>(date.day()));
}

absl::Status NoValue() {
  return base::NotFound("nothing is kept for this pseudonym: it is of another team, a model invented it, or its value was erased");
}

std::shared_ptr<const RequestKey> NewKeyUnder(const DayKey& day, base::RequestId request) {
  return KeyUnder(day, {request, day.number, base::RandomBytes(kKeyBytes), {}});
}

std::shared_ptr<const RequestKey> KeyUnder(const DayKey& day, KeyRow row) {
  std::string key = base::HkdfExpandSha256(day.key, RequestInfo(day.team, row.request, row.salt), kKeyBytes);
  return std::make_shared<const RequestKey>(day.team, std::move(row), std::move(key), day.subject_key);
}

std::unique_ptr<Keys> MakeMemoryKeys(const RootKey& root, const base::Clock* clock) {
  return std::make_unique<MemoryKeys>(root, clock != nullptr ? *clock : base::SystemClock());
}

}  // namespace tollgate::audit
