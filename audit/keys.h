// Keys: root key -> tenant key -> tenant-day key -> request key. Each is stored only wrapped by the one before, in the keys
// database; the root key is never stored. Destroying a row destroys everything below it.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "audit/seal.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/postgres.h"
#include "base/status.h"
#include "base/uuid.h"

namespace tollgate::audit {

// The installation's root key, from a file of 64 hex digits. Lines that start with '#' are comments; "# tollgate dev" marks a key that
// `tollgate dev` made. Immutable; copies are wiped.
class RootKey {
 public:
  // FAILED_PRECONDITION if others may read the file (base/secret_file.h); INVALID_ARGUMENT if it holds no key. Messages name the path,
  // never the key.
  static absl::StatusOr<RootKey> Load(const std::string& path);
  static absl::Status Create(const std::string& path, bool dev);  // A fresh random key, mode 0600. ALREADY_EXISTS if there is a file.
  static RootKey FromBytes(std::string bytes);                    // 32 bytes; for tests.

  RootKey(const RootKey&) = default;
  RootKey& operator=(const RootKey&) = default;
  ~RootKey() { base::Wipe(bytes_); }

  // A 32-byte key for one purpose, independent of every other: "source-hmac", "directory-mac", "api-key-pepper" …
  std::string Derive(std::string_view purpose) const;
  const std::string& secret() const { return bytes_; }
  bool made_by_dev() const { return dev_; }
  std::string id() const;  // 16 hex digits that name this key and tell nothing of it.

 private:
  explicit RootKey(std::string bytes, bool dev) : bytes_(std::move(bytes)), dev_(dev) {}
  std::string bytes_;
  bool dev_ = false;
};

// Thread-safe.
class Keys {
 public:
  using Done = std::function<void(absl::StatusOr<std::shared_ptr<const RequestKey>>)>;
  virtual ~Keys() = default;

  // A fresh key for a new request; its row() must go with the request's first record. When the team's key of the day is in memory
  // (all but a team's first request of a day) `done` is called before this returns; otherwise on a thread of Keys, with UNAVAILABLE if
  // `deadline` has passed by then; it may come late by a few statement time limits, so a caller that must be exact waits with a timer.
  // UNAVAILABLE: the keys database cannot be reached. FAILED_PRECONDITION: the team's keys were destroyed, a minute
  // ago at least. That the database still has the key of the day, whoever stores the row() finds (StoredDay::gone): then another is made.
  virtual void NewRequestKey(base::TeamId team, base::RequestId request, std::chrono::steady_clock::time_point deadline, Done done) = 0;

  // The stored key of an earlier request, for reading. Blocks: not from I/O threads.
  // NOT_FOUND: there is none, or it was destroyed: the content cannot be read by anyone any more.
  virtual absl::StatusOr<std::shared_ptr<const RequestKey>> Find(base::TeamId team, base::RequestId request) = 0;

  // What pseudonyms stand for, each value sealed by ValueSealer::Seal; `subject`: the end user's HMAC, empty if nobody was named.
  struct SealedValue {
    std::string pseudonym, sealed, mark;  // RequestKey::ValueMark.
  };
  enum class ValuesOf { kSubject, kPseudonym, kMark };
  using Kept = std::function<void(absl::Status)>;
  // Keeps them; those that are kept already stay. `done` is called once, on a thread of Keys: UNAVAILABLE if the keys database cannot be
  // reached, or the work had not begun at `deadline`.
  virtual void KeepValues(base::TeamId team, const std::string& subject, std::vector<SealedValue> values,
                          std::chrono::steady_clock::time_point deadline, Kept done) = 0;
  // True if this was kept a short while ago: it need not be kept again. Memory only.
  virtual bool KnowsKept(base::TeamId team, const std::string& subject, const std::string& pseudonym);
  // Blocks. Sealed, the oldest first: more than one where values share the pseudonym; at most 20. NOT_FOUND: the team has no such
  // pseudonym, or its value was erased.
  virtual absl::StatusOr<std::vector<std::string>> FindValues(base::TeamId team, const std::string& pseudonym) = 0;
  struct Erased {
    std::int64_t rows = 0;    // That are gone; may be none.
    std::int64_t others = 0;  // That stay and tell the same values: somebody else wrote them too.
  };
  // Forgets what one subject wrote, one pseudonym, or one value, whoever wrote it. Blocks.
  virtual absl::StatusOr<Erased> EraseValues(base::TeamId team, ValuesOf by, const std::string& which) = 0;
  // The same for many requests of a team, in their order; null where Find says NOT_FOUND.
  virtual absl::StatusOr<std::vector<std::shared_ptr<const RequestKey>>> FindAll(base::TeamId team,
                                                                                 std::span<const base::RequestId> requests);

  // A caller's address, or another source, under the installation's key, 16 bytes: the form in which records hold it.
  virtual std::string SourceHmac(std::string_view source) const = 0;
};

// Makes one and waits: for admin calls and tools, on threads that may block. Errors as NewRequestKey.
absl::StatusOr<std::shared_ptr<const RequestKey>> MakeKeyAndWait(Keys& keys, base::TeamId team, base::RequestId request,
                                                                 std::chrono::steady_clock::time_point deadline);

struct PostgresKeysOptions {
  std::string url;  // The keys database.
  std::string role = "tollgate_keys";
  // The main database, whose records these keys open. Empty: nobody asks whether they belong together; for tests.
  std::string main_url;
  std::string main_role = "tollgate_writer";
  // Of every session, of both databases.
  std::chrono::milliseconds connect_timeout{2000};
  std::chrono::milliseconds statement_timeout{3000};
  std::chrono::milliseconds lock_timeout{2000};
  std::size_t cached_teams_max = 100'000;
  const base::Clock* clock = nullptr;  // Names the day; null = SystemClock().
};

// Connects and checks the keys database; one that is new is noted as this root key's and the main database's installation's.
// FAILED_PRECONDITION: its keys were made under another root key, or are another installation's; or there are none, and records have
// content.
absl::StatusOr<std::unique_ptr<Keys>> OpenPostgresKeys(const RootKey& root, PostgresKeysOptions options);

struct LostKeys {
  base::PostgresOptions main, keys;  // With the role tollgate_writer; the keys' as the owner of its tables.
  std::string reason;
  std::function<absl::Status()> record;  // Puts it on record; nothing was changed if that fails.
};

// Goes on without keys that are lost for good: OpenPostgresKeys then takes the empty keys database, and Journal::Open one that lacks keys
// of records from before. With nothing on record FAILED_PRECONDITION: another root key or installation; PERMISSION_DENIED: keys does not
// log in as the owner, and who serves accepts nothing. Blocks.
absl::Status AcceptLostKeys(const RootKey& root, const LostKeys& lost);

}  // namespace tollgate::audit
