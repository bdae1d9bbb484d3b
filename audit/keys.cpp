// The root key and what is derived from it, and the two lower steps of the hierarchy.
// Tested by tests/audit/keys_test.cpp.
#include "audit/keys.h"

#include <sys/stat.h>

#include <future>

#include <fmt/format.h>

#include "audit/key_chain.h"
#include "audit/wrap.h"
#include "base/encoding.h"
#include "base/secret_file.h"

namespace tollgate::audit {
namespace {

constexpr std::string_view kDevMark = "# tollgate dev";

}  // namespace

absl::StatusOr<RootKey> RootKey::Load(const std::string& path) {
  if (const std::string fault = base::SecretFileFault(path); !fault.empty())
    return base::FailedPrecondition(fmt::format("root key {}, which {}", path, fault));
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
  return KeyUnder(day, {request, day.stored->number, base::RandomBytes(kKeyBytes), {}, day.stored});
}

std::shared_ptr<const RequestKey> KeyUnder(const DayKey& day, KeyRow row) {
  std::string key = base::HkdfExpandSha256(day.key, RequestInfo(day.team, row.request, row.salt), kKeyBytes);
  return std::make_shared<const RequestKey>(day.team, std::move(row), std::move(key), day.subject_key, day.pseudonym_key);
}

absl::StatusOr<std::shared_ptr<const RequestKey>> MakeKeyAndWait(Keys& keys, base::TeamId team, base::RequestId request,
                                                                 std::chrono::steady_clock::time_point deadline) {
  using Made = absl::StatusOr<std::shared_ptr<const RequestKey>>;
  const auto made = std::make_shared<std::promise<Made>>();  // Shared: set_value may still run in it when the waiter has gone on.
  keys.NewRequestKey(team, request, deadline, [made](Made key) { made->set_value(std::move(key)); });
  return made->get_future().get();
}

}  // namespace tollgate::audit
