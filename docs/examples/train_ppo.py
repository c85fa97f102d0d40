"""PPO in one compiled program, in the manner of purejaxrl: the environment is asked as gymnax's are."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

import dsegym

LANES, STEPS, EPOCHS, MINIBATCHES, CLIP, TRACE, RATE = 256, 32, 2, 8, 0.2, 0.95, 1e-3


class ActorCritic(nn.Module):
    """Logits and value of an observation."""

    actions: int

    @nn.compact
    def __call__(self, observation):
        """Two towers."""
        policy, value = (nn.tanh(nn.Dense(64)(nn.tanh(nn.Dense(64)(observation)))) for _ in range(2))
        return nn.Dense(self.actions)(policy), nn.Dense(1)(value)[..., 0]


def make_train(env, params, updates):
    """`train(key) -> ((weights, ...), mean objective of the episodes that ended in each update)`, for `jax.jit`."""
    network, optimizer = ActorCritic(env.action_space(params).n), optax.adam(RATE)
    reset, step = jax.vmap(env.reset, (0, None)), jax.vmap(env.step, (0, 0, 0, None))

    def loss(weights, batch):
        observation, action, old, before, advantage = batch
        logits, value = network.apply(weights, observation)
        logs = jax.nn.log_softmax(logits)
        ratio = jnp.exp(jnp.take_along_axis(logs, action[:, None], 1)[:, 0] - old)
        scaled = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        gain = jnp.minimum(ratio * scaled, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * scaled).mean()
        return 0.5 * jnp.square(value - advantage - before).mean() - gain

    def rollout(carry, keys):
        weights, observation, state = carry
        logits, value = network.apply(weights, observation)
        action = jax.random.categorical(keys[0], logits)
        log = jnp.take_along_axis(jax.nn.log_softmax(logits), action[:, None], 1)[:, 0]
        after, state, reward, done, info = step(jax.random.split(keys[1], LANES), state, action, params)
        return (weights, after, state), (observation, action, log, value, reward, done, info["objective"])

    def update(carry, key):
        weights, memory, *lanes = carry
        (_, *lanes), seen = jax.lax.scan(rollout, (weights, *lanes), jax.random.split(key, (STEPS, 2)))
        *batch, value, reward, done, objective = seen

        def advantages(carry, now):
            (advantage, following), (value, reward, done) = carry, now
            advantage = reward + following * ~done - value + TRACE * ~done * advantage
            return (advantage, value), advantage

        last = jnp.zeros(LANES), network.apply(weights, lanes[0])[1]
        _, advantage = jax.lax.scan(advantages, last, (value, reward, done), reverse=True)
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), (*batch, value, advantage))

        def minibatch(carry, places):
            gradients = jax.grad(loss)(carry[0], jax.tree.map(lambda leaf: leaf[places], flat))
            changes, memory = optimizer.update(gradients, carry[1])
            return (optax.apply_updates(carry[0], changes), memory), None

        order = jax.random.permutation(key, jnp.tile(jnp.arange(LANES * STEPS), EPOCHS))
        (weights, memory), _ = jax.lax.scan(minibatch, (weights, memory), order.reshape(EPOCHS * MINIBATCHES, -1))
        return (weights, memory, *lanes), (objective * done).sum() / done.sum()

    def train(key):
        weights = network.init(key, jnp.zeros(env.observation_space(params).shape))
        lanes = reset(jax.random.split(key, LANES), params)
        return jax.lax.scan(update, (weights, optimizer.init(weights), *lanes), jax.random.split(key, updates))

    return train


if __name__ == "__main__":
    print(jax.jit(make_train(*dsegym.make_functional("dsegym/SleepTime-v0"), 100))(jax.random.key(0))[1])
