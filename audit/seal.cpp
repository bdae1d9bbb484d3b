// The plaintext is one serialised SealedContent. Its place (team, request, attempt, kind, segment) is associated data, so that ciphertexts
// cannot be swapped. GCM does not commit to its key, so the record that opens a request does: a value derived from the key, which tells
// nothing once the key is gone. A nonce is random and each key seals few messages.
// Tested by tests/audit/seal_test.cpp.
#include "audit/seal.h"

#include "audit/wrap.h"

namespace tollgate::audit {
namespace {

std::string ContentAad(const RequestKey& key, const SealPlace& place) {
  return "TGC1" + key.team().Bytes() + key.request().Bytes() + BigEndian32(place.attempt) +
         BigEndian32(static_cast<std::uint32_t>(place.kind)) + BigEndian32(place.segment);
}

std::string KeyCommitment(const RequestKey& key) { return base::HkdfExpandSha256(key.secret(), "tollgate commit v1", kKeyBytes); }

std::string ValueAad(base::TeamId team, std::string_view pseudonym) { return "TGPV" + team.Bytes() + std::string(pseudonym); }

// An ADMIN record has content where a text was tried outside any request; then it is the only one of its id.
bool OpensRequest(v1::RecordKind kind) {
  return kind == v1::RECORD_KIND_REQUEST || kind == v1::RECORD_KIND_DENY || kind == v1::RECORD_KIND_ADMIN;
}

}  // namespace

ValueSealer::ValueSealer(base::TeamId team, std::string_view subject_key)
    : team_(team),
      value_key_(base::HkdfExpandSha256(subject_key, "tollgate value v1", kKeyBytes)),
      mark_key_(base::HkdfExpandSha256(subject_key, "tollgate value mark v1", kKeyBytes)) {}

ValueSealer::~ValueSealer() {
  base::Wipe(value_key_);
  base::Wipe(mark_key_);
}

std::string ValueSealer::Seal(std::string_view pseudonym, std::string_view value) const {
  return Wrap(value_key_, ValueAad(team_, pseudonym), value);
}

std::string ValueSealer::Mark(std::string_view value) const { return std::string(base::View(base::HmacSha256(mark_key_, value))); }

absl::StatusOr<std::string> ValueSealer::Open(std::string_view pseudonym, std::string_view sealed) const {
  return Unwrap(value_key_, ValueAad(team_, pseudonym), sealed);
}

RequestKey::RequestKey(base::TeamId team, KeyRow row, std::string key, std::string subject_key, std::string pseudonym_key)
    : team_(team),
      row_(std::move(row)),
      key_(std::move(key)),
      subject_key_(std::move(subject_key)),
      pseudonym_key_(std::move(pseudonym_key)) {
  TG_CHECK(key_.size() == kKeyBytes && subject_key_.size() == kKeyBytes, "a data key has 32 bytes");
}

RequestKey::~RequestKey() {
  base::Wipe(key_);
  base::Wipe(subject_key_);
  base::Wipe(pseudonym_key_);
}

base::Digest RequestKey::EndUserHmac(std::string_view end_user) const { return base::HmacSha256(subject_key_, end_user); }

Sealed Seal(const RequestKey& key, const SealPlace& place, const v1::SealedContent& content) {
  std::string plaintext = content.SerializeAsString();
  Sealed out;
  out.stored = Wrap(key.secret(), ContentAad(key, place), plaintext);
  if (OpensRequest(place.kind)) out.key_commitment = KeyCommitment(key);
  base::Wipe(plaintext);
  return out;
}

absl::Status CheckKey(const RequestKey& key, const v1::Record& first) {
  if (base::ConstantTimeEqual(KeyCommitment(key), first.key_commitment())) return absl::OkStatus();
  return base::DataLoss("the key is not the one that the request's first record commits to");
}

absl::StatusOr<v1::SealedContent> OpenSealed(const RequestKey& key, const v1::Record& record, std::string_view stored) {
  const SealPlace place{record.kind(), record.attempt(), record.segment()};
  auto plaintext = Unwrap(key.secret(), ContentAad(key, place), stored);
  if (!plaintext.ok()) return base::Annotate(plaintext.status(), "the content does not open under its request's key");
  v1::SealedContent content;
  const bool parsed = content.ParseFromString(*plaintext);
  base::Wipe(*plaintext);
  if (!parsed) return base::DataLoss("the content opens, but is no message of this format");
  return content;
}

}  // namespace tollgate::audit
