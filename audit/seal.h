// Sealing: content is encrypted under a data key of its own request before it comes near the database. Pure CPU; any thread.
// About 1 us for 2 KiB; run more than 64 KiB on the CPU pool. Formats: audit/FORMAT.md.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "audit/record.h"
#include "base/crypto.h"
#include "base/status.h"
#include "base/uuid.h"

namespace tollgate::audit {

// Seals what pseudonyms stand for, under keys of the team that are derived once. Immutable; its keys are wiped when it goes.
class ValueSealer {
 public:
  ValueSealer(base::TeamId team, std::string_view subject_key);
  ~ValueSealer();
  ValueSealer(const ValueSealer&) = delete;
  ValueSealer& operator=(const ValueSealer&) = delete;

  std::string Seal(std::string_view pseudonym, std::string_view value) const;
  std::string Mark(std::string_view value) const;  // The same for the same value: what it is erased by.
  // DATA_LOSS if the bytes are not what was sealed for this pseudonym of this team.
  absl::StatusOr<std::string> Open(std::string_view pseudonym, std::string_view sealed) const;

 private:
  base::TeamId team_;
  std::string value_key_;
  std::string mark_key_;
};

// A request's data key, in clear: memory only, wiped when it goes. Immutable; share it among the request's threads.
class RequestKey {
 public:
  // The keys are 32 bytes each; the last two are the team's.
  RequestKey(base::TeamId team, KeyRow row, std::string key, std::string subject_key, std::string pseudonym_key);
  ~RequestKey();
  RequestKey(const RequestKey&) = delete;
  RequestKey& operator=(const RequestKey&) = delete;

  base::TeamId team() const { return team_; }
  base::RequestId request() const { return row_.request; }
  const KeyRow& row() const { return row_; }          // Goes with the request's first record.
  const std::string& secret() const { return key_; }  // For Seal and OpenSealed.

  // The end user under the team's own key: the only form in which an end user is ever stored.
  base::Digest EndUserHmac(std::string_view end_user) const;

  // The team's own as well, the same for all its requests: what values are pseudonymised under, and what they are sealed with where it is
  // kept what a pseudonym stands for. For many values make one Sealer.
  const std::string& pseudonym_key() const { return pseudonym_key_; }
  ValueSealer Sealer() const { return {team_, subject_key_}; }
  std::string ValueMark(std::string_view value) const { return Sealer().Mark(value); }
  absl::StatusOr<std::string> OpenValue(std::string_view pseudonym, std::string_view sealed) const {
    return Sealer().Open(pseudonym, sealed);
  }

 private:
  base::TeamId team_;
  KeyRow row_;
  std::string key_;
  std::string subject_key_, pseudonym_key_;
};

// What the ciphertext is bound to beside the key's team and request: moved to another place, it does not open.
struct SealPlace {
  v1::RecordKind kind = v1::RECORD_KIND_UNSPECIFIED;
  std::uint32_t attempt = 0;
  std::uint32_t segment = 0;
};

// Seals under a fresh random nonce. Use the result in one Entry whose record has the same kind, attempt and segment.
Sealed Seal(const RequestKey& key, const SealPlace& place, const v1::SealedContent& content);

// DATA_LOSS: the key is not the one that the request's first record, its REQUEST or DENY (or the ADMIN that stands alone), commits to.
absl::Status CheckKey(const RequestKey& key, const v1::Record& first);

// DATA_LOSS: the bytes are not what was sealed for this request and record.
absl::StatusOr<v1::SealedContent> OpenSealed(const RequestKey& key, const v1::Record& record, std::string_view stored);

}  // namespace tollgate::audit
