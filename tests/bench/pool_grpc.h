// The pool as a client sees it: the real program with a real model, streams over gRPC under full governance.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

namespace tollgate::bench {

class PoolGrpc {
 public:
  // A gateway with so many slots of so many tokens each; the model computes on one core less than there are.
  PoolGrpc(const std::string& model_file, int slots, int context_tokens);
  ~PoolGrpc();

  // So many clients ask at once, greedily. Seconds until the last answer has ended; dies unless each had all its tokens, and its prompt so
  // many, none of which was found cached.
  double Run(const std::string& prompt, std::size_t prompt_tokens, int clients, int tokens);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tollgate::bench
