#include <catch2/catch_test_macros.hpp>

#include <functional>

#include "audit/keys.h"
#include "audit/seal.h"
#include "tests/support/memory_keys.h"

namespace tollgate::audit {
namespace {

std::shared_ptr<const RequestKey> NewKey(Keys& keys, base::TeamId team, base::RequestId request) {
  return *MakeKeyAndWait(keys, team, request, std::chrono::steady_clock::time_point::max());
}

struct World {
  std::unique_ptr<Keys> keys = std::make_unique<test::MemoryKeys>();
  base::TeamId team = base::TeamId::New();
  base::RequestId request = base::RequestId::New();
  std::shared_ptr<const RequestKey> key = NewKey(*keys, team, request);
  v1::SealedContent content;
  Sealed sealed;
  v1::Record record, first;

  World() {
    content.set_text("the canary sings");
    sealed = Seal(*key, {v1::RECORD_KIND_SEGMENT, 1, 4}, content);
    record.set_kind(v1::RECORD_KIND_SEGMENT);
    record.set_attempt(1);
    record.set_segment(4);
    first.set_key_commitment(Seal(*key, {v1::RECORD_KIND_REQUEST, 1, 0}, content).key_commitment);
  }
};

TEST_CASE("What was sealed opens, and shows nothing of the text") {
  World w;
  CHECK(w.sealed.stored.find("canary") == std::string::npos);
  const auto opened = OpenSealed(*w.key, w.record, w.sealed.stored);
  REQUIRE(opened.ok());
  CHECK(opened->text() == "the canary sings");
  CHECK(Seal(*w.key, {v1::RECORD_KIND_SEGMENT, 1, 4}, w.content).stored != w.sealed.stored);
}

TEST_CASE("Content that was moved or changed does not open") {
  World w;
  const struct {
    const char* what;
    std::function<void(World&)> change;
  } rows[] = {
      {"another segment", [](World& x) { x.record.set_segment(5); }},
      {"another attempt", [](World& x) { x.record.set_attempt(2); }},
      {"another kind", [](World& x) { x.record.set_kind(v1::RECORD_KIND_FINAL); }},
      {"another request's key", [](World& x) { x.key = NewKey(*x.keys, x.team, base::RequestId::New()); }},
      {"another team's key", [](World& x) { x.key = NewKey(*x.keys, base::TeamId::New(), x.request); }},
      {"a flipped bit", [](World& x) { x.sealed.stored[20] ^= 1; }},
      {"cut short", [](World& x) { x.sealed.stored.resize(8); }},
  };
  for (const auto& row : rows) {
    INFO(row.what);
    World x;
    row.change(x);
    CHECK(absl::IsDataLoss(OpenSealed(*x.key, x.record, x.sealed.stored).status()));
  }
}

TEST_CASE("Only the record that opens a request commits to its key, and always in the same way") {
  World w;
  CHECK(w.sealed.key_commitment.empty());
  const Sealed deny = Seal(*w.key, {v1::RECORD_KIND_DENY, 1, 0}, w.content);
  CHECK(deny.key_commitment == w.first.key_commitment());
  CHECK(deny.key_commitment != w.key->secret());
  CHECK(CheckKey(*w.key, w.first).ok());
  CHECK(absl::IsDataLoss(CheckKey(*NewKey(*w.keys, w.team, base::RequestId::New()), w.first)));
  w.first.clear_key_commitment();
  CHECK(absl::IsDataLoss(CheckKey(*w.key, w.first)));
}

TEST_CASE("An end user's HMAC is the same for all requests of a team, and another for each team") {
  World w;
  const auto again = NewKey(*w.keys, w.team, base::RequestId::New());
  const auto other = NewKey(*w.keys, base::TeamId::New(), base::RequestId::New());
  CHECK(w.key->EndUserHmac("anna") == again->EndUserHmac("anna"));
  CHECK(w.key->EndUserHmac("anna") != w.key->EndUserHmac("bert"));
  CHECK(w.key->EndUserHmac("anna") != other->EndUserHmac("anna"));
}

}  // namespace
}  // namespace tollgate::audit
