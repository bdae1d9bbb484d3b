// The rows of the catalogue of secrets, by kind of issuer. Inside policy/ only.
//
// A row is a format that its issuer publishes: an anchor (mostly a prefix), an alphabet, a length. Where the body is random, `bits_min`
// asks for entropy, which placeholders such as sk_live_xxxxxxxxxxxxxxxx lack.
#pragma once

#include <span>

#include "policy/validators.h"

namespace tollgate::policy {

struct SecretKind {
  const char* name;    // In `secrets:`.
  const char* family;  // Another name, for all rows that have it; in capitals it is the placeholder's text. Empty: the name is.
  const char* regex;
  double bits_min = 0;  // Least entropy of the match, in bits a byte.
  Validator accept = nullptr;
  int cap = 0;               // Bytes, for an unbounded format.
  const char* context = "";  // As of an Identifier.
};

std::span<const SecretKind> CloudSecrets();      // Clouds, hosting, infrastructure, databases, monitoring.
std::span<const SecretKind> CodeSecrets();       // Code hosting, package registries, build and quality services.
std::span<const SecretKind> ModelSecrets();      // Providers of models and of what surrounds them.
std::span<const SecretKind> BusinessSecrets();   // Payments, mail, messaging, office and marketing services.
std::span<const SecretKind> UniversalSecrets();  // Standards, keys on disk, protocols, assignments.

}  // namespace tollgate::policy
