// The plaintext is one serialised SealedContent. Its place (team, request, attempt, kind, segment) is associated data, so that ciphertexts
// cannot be swapped. GCM does not commit to its key: the keyed commitment does, under a key derived from the data key, so that it
// dies with it. A nonce is random and each key seals few messages.
// Tested by tests/audit/seal_test.cpp.
#include "audit/seal.h"

#include "audit/wrap.h"

namespace tollgate::audit {
namespace {

std::string ContentAad(const RequestKey& key, const SealPlace& place) {
  return "TGC1" + key.team().Bytes() + key.request().Bytes() + BigEndian32(place.attempt) +
         BigEndian32(static_cast<std::uint32_t>(place.kind)) + BigEndian32(place.segment);
}

base::Digest Commitment(const RequestKey& key, std::string_view plaintext) { return base::HmacSha256(key.commit_secret(), plaintext); }

}  // namespace

RequestKey::RequestKey(base::TeamId team, KeyRow row, std::string key, std::string subject_key)
    : team_(team), row_(std::move(row)), key_(std::move(key)), subject_key_(std::move(subject_key)) {
  TG_CHECK(key_.size() == kKeyBytes && subject_key_.size() == kKeyBytes, "a data key has 32 bytes");
  commit_key_ = base::HkdfSha256(key_, "", "tollgate commit v1", kKeyBytes);
}

RequestKey::~RequestKey() {
  base::Wipe(key_);
  base::Wipe(subject_key_);
  base::Wipe(commit_key_);
}

base::Digest RequestKey::EndUserHmac(std::string_view end_user) const { return base::HmacSha256(subject_key_, end_user); }

Sealed Seal(const RequestKey& key, const SealPlace& place, const v1::SealedContent& content) {
  std::string plaintext = content.SerializeAsString();
  Sealed out;
  out.stored = Wrap(key.secret(), ContentAad(key, place), plaintext);
  out.commitment.set_ciphertext_sha256(std::string(base::View(base::Sha256(out.stored))));
  out.commitment.set_keyed_commitment(std::string(base::View(Commitment(key, plaintext))));
  out.commitment.set_size(static_cast<std::int64_t>(plaintext.size()));
  base::Wipe(plaintext);
  return out;
}

absl::StatusOr<v1::SealedContent> OpenSealed(const RequestKey& key, const v1::Record& record, std::string_view stored) {
  const auto& commitment = record.content();
  if (base::View(base::Sha256(stored)) != commitment.ciphertext_sha256()) {
    return base::DataLoss("the stored content is not what the record commits to: it was changed; run `tollgate audit verify`");
  }
  const SealPlace place{record.kind(), record.attempt(), record.segment()};
  auto plaintext = Unwrap(key.secret(), ContentAad(key, place), stored);
  if (!plaintext.ok()) return base::Annotate(plaintext.status(), "the content does not open under its request's key");
  const bool committed = base::ConstantTimeEqual(base::View(Commitment(key, *plaintext)), commitment.keyed_commitment()) &&
                         commitment.size() == static_cast<std::int64_t>(plaintext->size());
  v1::SealedContent content;
  const bool parsed = committed && content.ParseFromString(*plaintext);
  base::Wipe(*plaintext);
  if (!committed) return base::DataLoss("the content opens, but the record commits to another text");
  if (!parsed) return base::DataLoss("the content opens, but is no message of this format");
  return content;
}

}  // namespace tollgate::audit
