// Who there is: orgs, their teams, projects and keys, as the snapshot holds them. Values alone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/crypto.h"
#include "base/uuid.h"

namespace tollgate::directory {

enum class Role { kOwner, kAdmin, kPolicyAuthor, kApprover, kAuditor, kFinance, kOperator, kMember, kGrammarAuthor, kEvidence };

struct Org {
  base::OrgId id;
  std::string name;
  bool blocked = false;
  bool stopped = false;  // By an emergency stop.
};
struct Team {  // The tenant.
  base::TeamId id;
  base::OrgId org;
  std::string name;
  bool blocked = false;
  bool stopped = false;  // By an emergency stop.
};
struct Project {
  base::ProjectId id;
  base::TeamId team;
  std::string name;
  bool blocked = false;
  bool stopped = false;  // By an emergency stop.
};
struct Key {
  base::KeyId id;
  base::ProjectId project;
  std::string public_id;  // The 8 characters in the key's text.
  std::string name;
  std::string owner;           // The person it belongs to.
  std::string made_by;         // Who else may know its secret, a line for each (gateway/admin/people.h).
  base::Digest secret_hmac{};  // HMAC-SHA-256(pepper, secret).
  std::vector<Role> roles;
  std::int64_t created_us = 0;
  std::optional<std::int64_t> expires_us;
  std::optional<std::int64_t> revoked_us;
  bool dev = false;  // Made by `tollgate dev`; `serve` refuses it.
};

// One org with everything under it (gateway/directory/shard.h).
struct Shard;

// Where a key stands. Pointers live as long as the snapshot.
struct Place {
  const Org* org = nullptr;
  const Team* team = nullptr;
  const Project* project = nullptr;
  const Key* key = nullptr;
  const Shard* shard = nullptr;
};

}  // namespace tollgate::directory
