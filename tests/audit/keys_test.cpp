#include <catch2/catch_test_macros.hpp>

#include <sys/stat.h>

#include "audit/key_chain.h"
#include "audit/keys.h"
#include "audit/wrap.h"
#include "base/encoding.h"
#include "tests/support/temp_dir.h"

namespace tollgate::audit {
namespace {

TEST_CASE("A root key file is made once, loaded, and says whether dev made it") {
  test::TempDir dir;
  const std::string file = dir.File("root.key");
  REQUIRE(RootKey::Create(file, true).ok());
  const auto key = RootKey::Load(file);
  REQUIRE(key.ok());
  CHECK(key->made_by_dev());
  CHECK(key->secret().size() == 32);
  CHECK(absl::IsAlreadyExists(RootKey::Create(file, false)));
  REQUIRE(RootKey::Create(dir.File("other.key"), false).ok());
  const auto other = RootKey::Load(dir.File("other.key"));
  CHECK_FALSE(other->made_by_dev());
  CHECK(other->id() != key->id());
}

TEST_CASE("A bad root key file is refused, and its content is never shown") {
  test::TempDir dir;
  const struct {
    const char* text;
    unsigned mode;
    absl::StatusCode code;
  } rows[] = {
      {"abc", 0600, absl::StatusCode::kInvalidArgument},
      {"zz0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", 0600, absl::StatusCode::kInvalidArgument},
      {"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", 0644, absl::StatusCode::kFailedPrecondition},
      {"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", 0600, absl::StatusCode::kOk},
      {"# a comment\n000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n", 0600, absl::StatusCode::kOk},
  };
  int n = 0;
  for (const auto& row : rows) {
    const std::string file = dir.File("k" + std::to_string(n++));
    REQUIRE(base::WriteFileAtomically(file, row.text, row.mode).ok());
    REQUIRE(::chmod(file.c_str(), row.mode) == 0);
    const auto key = RootKey::Load(file);
    CHECK(key.status().code() == row.code);
    if (!key.ok()) CHECK(base::Message(key.status()).find("0102") == std::string::npos);
  }
}

TEST_CASE("Keys derived for different purposes differ, and are stable") {
  const RootKey root = RootKey::FromBytes(std::string(32, 'x'));
  CHECK(root.Derive("a") != root.Derive("b"));
  CHECK(root.Derive("a") == RootKey::FromBytes(std::string(32, 'x')).Derive("a"));
  CHECK(root.Derive("a").size() == 32);
}

TEST_CASE("A wrapped key opens only under its own key and name") {
  const std::string key(32, 'k'), other(32, 'o');
  const std::string wrapped = Wrap(key, "name", "secret");
  CHECK(*Unwrap(key, "name", wrapped) == "secret");
  CHECK(absl::IsDataLoss(Unwrap(other, "name", wrapped).status()));
  CHECK(absl::IsDataLoss(Unwrap(key, "names", wrapped).status()));
  CHECK(absl::IsDataLoss(Unwrap(key, "name", wrapped.substr(0, 5)).status()));
  CHECK(absl::IsDataLoss(Unwrap(key, "name", "").status()));
}

TEST_CASE("A request's key is made again from its row; another day, row or request makes another key") {
  const base::TeamId team = base::TeamId::New();
  const auto stored = std::make_shared<const StoredDay>(1, "w");
  const DayKey day(team, 20'000, stored, base::RandomBytes(32), base::RandomBytes(32));
  const auto key = NewKeyUnder(day, base::RequestId::New());
  CHECK(key->row().salt.size() == 32);
  CHECK(KeyUnder(day, key->row())->secret() == key->secret());
  const DayKey stolen(base::TeamId::New(), day.day, stored, day.key, day.subject_key);
  CHECK(KeyUnder(stolen, key->row())->secret() != key->secret());
  const DayKey other(team, day.day, stored, base::RandomBytes(32), day.subject_key);
  CHECK(KeyUnder(other, key->row())->secret() != key->secret());
  KeyRow moved = key->row();
  moved.request = base::RequestId::New();
  CHECK(KeyUnder(day, moved)->secret() != key->secret());
  KeyRow salted = key->row();
  salted.salt[0] ^= 1;
  CHECK(KeyUnder(day, salted)->secret() != key->secret());
}

TEST_CASE("Days are days in UTC") {
  CHECK(DayText(DayOf(base::FromMicros(0))) == "1970-01-01");
  CHECK(DayText(DayOf(base::FromMicros(-1))) == "1969-12-31");
  CHECK(DayText(DayOf(base::FromMicros(1'709'251'199'999'999))) == "2024-02-29");
  CHECK(DayText(DayOf(base::FromMicros(1'709'251'200'000'000))) == "2024-03-01");
}

}  // namespace
}  // namespace tollgate::audit
