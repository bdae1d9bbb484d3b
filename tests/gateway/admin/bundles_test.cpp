// Signed policy bundles through the admin API: who is trusted, what is refused, and what the record says.
#include "base/ed25519.h"
#include "policy/bundle.h"
#include "tests/gateway/admin/served.h"
#include "tests/support/ed25519_pair.h"
#include "tests/support/grpc_reason.h"

using namespace tollgate;
using grpc::StatusCode;

namespace {

struct World : test::Served {
  template <typename Request, typename Reply>
  grpc::Status Ask(const std::string& who, grpc::Status (v1::Policy::Stub::*method)(grpc::ClientContext*, const Request&, Reply*),
                   const Request& request, Reply& reply) {
    reply.Clear();
    return Call(who, v1::Policy::NewStub(channel), method, request, reply);
  }
  grpc::Status Put(const std::string& yaml, bool draft = false) {
    v1::PutPolicyRequest request;
    request.set_name("house");
    request.set_yaml(yaml);
    request.set_draft(draft);
    return Ask("author", &v1::Policy::Stub::Put, request, stored);
  }
  grpc::Status Activate(std::int64_t version) {
    v1::ActivatePolicyRequest request;
    request.set_name("house");
    request.set_version(version);
    return Ask("author", &v1::Policy::Stub::Activate, request, stored);
  }
  grpc::Status Rollback() {
    v1::RollbackPolicyRequest request;
    request.set_name("house");
    return Ask("author", &v1::Policy::Stub::Rollback, request, stored);
  }
  grpc::Status Trust(const std::string& who, const std::string& name, const std::string& pem, std::optional<bool> required = {}) {
    v1::SetPolicySignersRequest request;
    request.set_org("acme");
    if (!name.empty() && !pem.empty()) {
      request.add_add()->set_name(name);
      request.mutable_add(0)->set_public_key(pem);
    } else if (!name.empty()) {
      request.add_remove(name);
    }
    if (required) request.set_required(*required);
    return Ask(who, &v1::Policy::Stub::SetSigners, request, signers);
  }
  v1::StoredPolicy stored;
  v1::PolicySigners signers;
};

std::string Yaml(const std::string& word) {
  return "version: 1\nname: house\nrules:\n  - id: word\n    detect: {keywords: " + word + "}\n    do: block\n";
}

std::string Bundle(const std::string& yaml, std::int64_t number, const test::Ed25519Pair* key, const std::string& name = "house") {
  const std::string text = test::Must(policy::NumberBundle(yaml, name, number));
  if (key == nullptr) return text;
  const policy::Bundle bundle = test::Must(policy::ReadBundle("t", text));
  return test::Must(policy::AddSignature(text, "security", test::Must(base::Ed25519Sign(key->private_pem, bundle.signed_bytes))));
}

// Its reason. What refuses a bundle is what stands, never how it was asked for.
std::string Refusal(const grpc::Status& status) {
  CHECK(status.error_code() == StatusCode::FAILED_PRECONDITION);
  return test::ReasonOf(status);
}

}  // namespace

TEST_CASE("An org that wants signatures lets nothing act that nobody it trusts has signed") {
  World world;
  const test::Ed25519Pair key = test::MakeEd25519Pair(), stranger = test::MakeEd25519Pair();
  REQUIRE(world.Put(Yaml("eagle")).ok());
  CHECK(world.Trust("author", "security", key.public_pem).error_code() == StatusCode::PERMISSION_DENIED);
  CHECK(world.Trust("owner", "", "", true).error_code() == StatusCode::FAILED_PRECONDITION);  // Nobody is trusted yet.
  CHECK(world.Trust("owner", "security", "no key").error_code() == StatusCode::INVALID_ARGUMENT);
  REQUIRE(world.Trust("owner", "security", key.public_pem, true).ok());
  CHECK(world.signers.names_size() == 1);
  CHECK(world.signers.required());

  std::string changed = Bundle(Yaml("falcon"), 1, &key);
  changed.replace(changed.find("falcon"), 6, "raven ");
  for (const std::string& bad : {Yaml("falcon"), Bundle(Yaml("falcon"), 1, nullptr), Bundle(Yaml("falcon"), 1, &stranger), changed,
                                 Bundle(Yaml("falcon"), 1, &key, "home")}) {
    CHECK(Refusal(world.Put(bad)) == "POLICY_SIGNATURE");
  }
  CHECK(world.Put(Yaml("falcon"), true).ok());              // A draft does not act …
  CHECK(Refusal(world.Activate(2)) == "POLICY_SIGNATURE");  // … and may not.
  const grpc::Status good = world.Put(Bundle(Yaml("falcon"), 1, &key));
  INFO(good.error_message());
  REQUIRE(good.ok());
  CHECK(world.stored.version_in_force() == 3);
  CHECK(Refusal(world.Activate(1)) == "POLICY_SIGNATURE");  // From before, unsigned.
  CHECK(Refusal(world.Rollback()) == "POLICY_SIGNATURE");
}

TEST_CASE("A bundle goes forward only, but for one step back") {
  World world;
  const test::Ed25519Pair key = test::MakeEd25519Pair();
  REQUIRE(world.Trust("owner", "security", key.public_pem, true).ok());
  REQUIRE(world.Put(Bundle(Yaml("eagle"), 5, &key)).ok());
  REQUIRE(world.Put(Bundle(Yaml("falcon"), 7, &key)).ok());
  CHECK(Refusal(world.Put(Bundle(Yaml("raven"), 6, &key))) == "POLICY_BUNDLE_OLD");
  CHECK(Refusal(world.Put(Bundle(Yaml("raven"), 7, &key))) == "POLICY_BUNDLE_OLD");
  CHECK(world.Put(Bundle(Yaml("falcon"), 7, &key)).ok());  // It is there already.
  CHECK(Refusal(world.Activate(1)) == "POLICY_BUNDLE_OLD");
  REQUIRE(world.Rollback().ok());
  CHECK(world.stored.version_in_force() == 1);
  REQUIRE(world.Activate(2).ok());
  REQUIRE(world.Trust("owner", "security", "", false).ok());  // Trusted no more, and not demanded.
  CHECK(world.signers.names().empty());
  CHECK(world.Put(Yaml("owl")).ok());
}

TEST_CASE("Where signatures are not demanded, one that is there must hold") {
  World world;
  const test::Ed25519Pair key = test::MakeEd25519Pair(), stranger = test::MakeEd25519Pair();
  CHECK(world.Put(Bundle(Yaml("eagle"), 1, &stranger)).ok());  // The org knows nobody.
  REQUIRE(world.Trust("owner", "security", key.public_pem).ok());
  CHECK(Refusal(world.Put(Bundle(Yaml("falcon"), 2, &stranger))) == "POLICY_SIGNATURE");
  CHECK(world.Put(Bundle(Yaml("falcon"), 2, &key)).ok());
  CHECK(world.Put(Yaml("raven")).ok());
}

TEST_CASE("What nobody trusted has signed numbers no signed bundle out") {
  World world;
  const test::Ed25519Pair key = test::MakeEd25519Pair(), stranger = test::MakeEd25519Pair();
  REQUIRE(world.Trust("owner", "security", key.public_pem, true).ok());
  REQUIRE(world.Put(Bundle(Yaml("eagle"), 1, &key)).ok());
  REQUIRE(world.Put(Bundle(Yaml("falcon"), policy::Bundle::kVersionMax, nullptr), true).ok());
  REQUIRE(world.Put(Bundle(Yaml("raven"), policy::Bundle::kVersionMax, &stranger), true).ok());
  const grpc::Status put = world.Put(Bundle(Yaml("owl"), 2, &key));
  INFO(put.error_message());
  CHECK(put.ok());
  CHECK(Refusal(world.Put(Bundle(Yaml("heron"), 2, &key))) == "POLICY_BUNDLE_OLD");
  CHECK(world.Put(Yaml("heron") + "--- # bundle: house 9223372036854775807\n", true).error_code() == StatusCode::INVALID_ARGUMENT);
}
