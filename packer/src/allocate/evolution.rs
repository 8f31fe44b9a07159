//! Differential evolution (Storn and Price, 1997), resumable.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use rasp::Result;
use serde::{Deserialize, Serialize};

/// How long to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Search {
    /// Generations; 0 for no search.
    pub generations: usize,
    /// Candidates of each.
    pub population: usize,
    /// Start of the random numbers: the same seed and input find the same.
    pub seed: u64,
}

impl Search {
    /// No search.
    pub const NONE: Search = Search { generations: 0, population: 1, seed: 0 };
    /// What usually finds most of what there is.
    pub const DEFAULT: Search = Search { generations: 8, population: 12, seed: 0 };
}

/// How far a mutation goes along the difference of two others, and the share of numbers it takes: usual values.
const MUTATION: f32 = 0.5;
const CROSSOVER: f32 = 0.7;

pub(super) type Genes = Vec<f32>;

/// What has been found so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Found {
    /// What the first member of the first generation cost.
    pub(super) start: f64,
    pub(super) generation: usize,
    population: Vec<(Genes, f64)>,
}

impl Found {
    /// The best member and what it costs.
    pub(super) fn best(&self) -> (&Genes, f64) {
        let best = self.population.iter().min_by(|a, b| a.1.total_cmp(&b.1)).expect("a population has members");
        (&best.0, best.1)
    }
}

/// The best population found from `first` and members that `random` makes, or from what an interrupted search had
/// found.
pub(super) fn evolution(
    first: Genes,
    random: impl Fn(&mut Xoshiro256PlusPlus) -> Genes,
    options: Search,
    known: Option<Found>,
    save: &mut impl FnMut(&Found) -> Result<()>,
    mut cost: impl FnMut(&Genes) -> Result<f64>,
) -> Result<Found> {
    let found = match known {
        Some(found) => found,
        None => {
            let mut numbers = Xoshiro256PlusPlus::seed_from_u64(options.seed);
            let mut population = vec![(first.clone(), cost(&first)?)];
            while population.len() < options.population {
                let genes = random(&mut numbers);
                let cost = cost(&genes)?;
                population.push((genes, cost));
            }
            Found { start: population[0].1, generation: 0, population }
        }
    };
    evolve(found, options, cost, save)
}

/// Differential evolution (rand-to-best, binomial crossover): each member is challenged by a mutant of itself and
/// replaced if that costs less.
fn evolve(
    mut found: Found,
    options: Search,
    mut cost: impl FnMut(&Genes) -> Result<f64>,
    save: &mut impl FnMut(&Found) -> Result<()>,
) -> Result<Found> {
    while found.generation < options.generations {
        found.generation += 1;
        // Each generation's random numbers are its own, so that an interrupted search goes on as it would have.
        let mut random = Xoshiro256PlusPlus::seed_from_u64(options.seed.wrapping_add(found.generation as u64));
        for n in 0..found.population.len() {
            let members = &found.population;
            let best = found.best();
            let mut pick = || (random.next_u64() % members.len() as u64) as usize;
            let (a, b) = (pick(), pick());
            let always = (random.next_u64() % members[n].0.len() as u64) as usize;
            let mut genes = members[n].0.clone();
            for (i, gene) in genes.iter_mut().enumerate() {
                if i == always || uniform(&mut random) < CROSSOVER {
                    *gene += MUTATION * (best.0[i] - *gene + members[a].0[i] - members[b].0[i]);
                }
            }
            let cost = cost(&genes)?;
            if cost < found.population[n].1 {
                found.population[n] = (genes, cost);
            }
        }
        save(&found)?;
    }
    Ok(found)
}

fn uniform(random: &mut Xoshiro256PlusPlus) -> f32 {
    (random.next_u64() >> 40) as f32 / (1u64 << 24) as f32
}

/// Nearly normal: the sum of twelve uniform numbers.
pub(crate) fn normal(random: &mut Xoshiro256PlusPlus) -> f32 {
    (0..12).map(|_| uniform(random)).sum::<f32>() - 6.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENES: usize = 16;
    const SPREAD: f32 = 0.25;

    #[test]
    fn evolution_finds_a_hidden_optimum_and_goes_on_where_it_was() {
        let target: Genes = (0..GENES).map(|i| (i as f32 - 8.0) / 16.0).collect();
        let cost = |genes: &Genes| -> Result<f64> {
            Ok(genes.iter().zip(&target).map(|(a, b)| f64::from((a - b) * (a - b))).sum())
        };
        let options = Search { generations: 400, population: 80, seed: 3 };
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut member = || -> Genes { (0..GENES).map(|_| SPREAD * normal(&mut random)).collect() };
        let members: Vec<Genes> = (0..80).map(|_| member()).collect();
        let population = members.into_iter().map(|genes| (genes.clone(), cost(&genes).unwrap())).collect();
        let start = Found { start: 0.0, generation: 0, population };
        let best = |found: &Found| found.population.iter().map(|m| m.1).fold(f64::INFINITY, f64::min);
        let mut halfway = None;
        let whole = evolve(start.clone(), options, cost, &mut |found: &Found| {
            if found.generation == 30 {
                halfway = Some(found.clone());
            }
            Ok(())
        });
        let whole = whole.unwrap();
        assert!(best(&whole) < best(&start) / 20.0, "{} from {}", best(&whole), best(&start));
        assert_eq!(evolve(halfway.unwrap(), options, cost, &mut |_: &Found| Ok(())).unwrap(), whole);
    }
}
