// Keys that end: what a key that ended may still do, what follows a rotated one, and who is left.
#include <thread>

#include <catch2/catch_test_macros.hpp>

#include "base/error_detail.h"
#include "gateway/admin/changes.h"
#include "tests/gateway/admin/installation.h"

using namespace tollgate;
using namespace std::chrono_literals;
using admin::Actor;
using directory::Role;
using test::Installation;
using test::Must;

namespace {

admin::CreatedKey MakeKey(Installation& in, const std::string& name, Role role, std::optional<std::int64_t> expires_us = {}) {
  return Must(in.changes->CreateKey(in.cli, {"acme", "search", "web", {}}, {name, "ann@acme.example", {role}, expires_us, false}));
}

Actor ActorOf(const admin::CreatedKey& key) { return {key.row.Text("public_id"), base::KeyId(key.row.id)}; }

std::string IdOf(const admin::CreatedKey& key) { return key.row.Text("public_id"); }

std::string ReasonOf(const absl::Status& status) {
  const auto detail = base::DetailOf(status);
  return detail.has_value() ? detail->reason : "";
}

std::int64_t NowUs() { return base::ToMicros(base::SystemClock().Wall()); }

}  // namespace

TEST_CASE("What a key asked for that was revoked, expired or blocked meanwhile is not made") {
  Installation in;
  in.MakeOrg("acme");
  const auto revoked = MakeKey(in, "revoked", Role::kAdmin);
  const auto expired = MakeKey(in, "expired", Role::kAdmin);
  const auto blocked = MakeKey(in, "blocked", Role::kAdmin);
  const auto owner = MakeKey(in, "owner", Role::kOwner);
  Must(in.changes->CreateTeam(ActorOf(revoked), "acme", "before"));
  Must(in.changes->RevokeKey(in.cli, IdOf(revoked), "stolen"));
  Must(in.changes->RotateKey(in.cli, IdOf(expired), 1s));
  const std::int64_t ends_us = NowUs() + 1'000'000;
  while (NowUs() <= ends_us) std::this_thread::yield();
  Must(in.changes->SetBlocked(in.cli, {"acme", {}, {}, {}}, true, "a leak"));
  const std::size_t records = in.journal.size();
  const auto tries = [&](const Actor& actor) {
    return in.changes->CreateKey(actor, {"acme", "search", "web", {}}, {"mine", "mallory", {Role::kAdmin}, {}, false}).status();
  };
  const absl::Status first = tries(ActorOf(revoked));
  CHECK(absl::IsUnauthenticated(first));
  CHECK(ReasonOf(first) == "KEY_REVOKED");
  const absl::Status second = tries(ActorOf(expired));
  CHECK(absl::IsUnauthenticated(second));
  CHECK(ReasonOf(second) == "KEY_EXPIRED");
  const absl::Status third = tries(ActorOf(blocked));
  CHECK(absl::IsPermissionDenied(third));
  CHECK(ReasonOf(third) == "ORG_BLOCKED");
  CHECK(absl::IsUnauthenticated(tries({"nosuchky", base::KeyId::New()})));
  CHECK(in.journal.size() == records);
  CHECK(tries(ActorOf(owner)).ok());  // Who reaches over the installation lifts blocks.
}

TEST_CASE("What is asked for by a caller who has gone is not made") {
  Installation in;
  in.MakeOrg("acme");
  const std::size_t records = in.journal.size();
  std::atomic<bool> gone = true;
  Actor actor = in.cli;
  actor.gone = &gone;
  CHECK(absl::IsCancelled(in.changes->CreateTeam(actor, "acme", "late").status()));
  CHECK(in.journal.size() == records);
  gone = false;
  CHECK(in.changes->CreateTeam(actor, "acme", "late").ok());
}

TEST_CASE("A rotated key is rotated again only when what followed it has ended, and its successor lasts as long as it was made for") {
  Installation in;
  in.MakeOrg("acme");
  const std::int64_t day_us = 86'400'000'000;
  const auto lasts = [](const directory::Row& row) { return row.Int("expires_us") - row.Int("created_us"); };
  for (const bool ends : {false, true}) {
    const auto key = MakeKey(in, ends ? "ends" : "stays", Role::kMember, ends ? std::optional(NowUs() + 90 * day_us) : std::nullopt);
    const auto lost = Must(in.changes->RotateKey(in.cli, IdOf(key), 1h));
    const auto refused = in.changes->RotateKey(in.cli, IdOf(key), 1h);
    CHECK(absl::IsFailedPrecondition(refused.status()));
    CHECK(base::Message(refused.status()).find(IdOf(lost) + " follows it") != std::string::npos);
    const auto third = Must(in.changes->RotateKey(in.cli, IdOf(lost), 0s));  // It ends at once, and is followed.
    CHECK(absl::IsFailedPrecondition(in.changes->RotateKey(in.cli, IdOf(key), 1h).status()));
    Must(in.changes->RevokeKey(in.cli, IdOf(third), "its text was lost"));
    const auto next = Must(in.changes->RotateKey(in.cli, IdOf(key), 1h));
    for (const auto& successor : {lost, third, next}) {
      CHECK(successor.row.IsNull("expires_us") == !ends);
      if (ends) CHECK(lasts(successor.row) / 1'000'000 == lasts(key.row) / 1'000'000);
    }
    // One that is rotated in an overlap of its own.
    const auto after = Must(in.changes->RotateKey(in.cli, IdOf(next), 2h));
    Must(in.changes->RevokeKey(in.cli, IdOf(after), "lost again"));
    const auto last = Must(in.changes->RotateKey(in.cli, IdOf(next), 2h));
    CHECK(last.row.IsNull("expires_us") == !ends);
    if (ends) CHECK(lasts(last.row) / 1'000'000 == lasts(key.row) / 1'000'000);
  }
}

TEST_CASE("The last owner's key is not revoked, and where none is left another is made") {
  Installation in;
  const auto first = Must(in.changes->Bootstrap(in.cli, "root@example", false));
  in.MakeOrg("acme");
  MakeKey(in, "admin", Role::kAdmin);
  const auto refused = in.changes->RevokeKey(in.cli, IdOf(*first), "leaked");
  CHECK(absl::IsFailedPrecondition(refused.status()));
  CHECK(base::Message(refused.status()).find("migrate --new-owner") != std::string::npos);
  const auto soon = MakeKey(in, "soon", Role::kOwner);
  Must(in.changes->RevokeKey(in.cli, IdOf(*first), "leaked"));
  CHECK(absl::IsFailedPrecondition(in.changes->RevokeKey(in.cli, IdOf(soon), "leaked").status()));
  const auto rotated = Must(in.changes->RotateKey(in.cli, IdOf(soon), 0s));  // A leaked one ends at once; there is another.
  CHECK(absl::IsFailedPrecondition(in.changes->RevokeKey(in.cli, IdOf(rotated), "leaked").status()));
  const auto another = Must(in.changes->MakeOwner(in.cli, "eve@example", false));
  CHECK(another.row.Text("roles") == "owner");
  CHECK(another.row.Text("owner") == "eve@example");
  CHECK(another.row.Text("project") == first->row.Text("project"));
  const auto again = Must(in.changes->MakeOwner(in.cli, "eve@example", false));
  CHECK(again.row.Text("name") != another.row.Text("name"));
  Must(in.changes->RevokeKey(in.cli, IdOf(rotated), "leaked"));
  CHECK(in.journal.entries().back().record.admin().action() == "key.revoke");
}
