//! Simulated series of counts, with incidents of which the truth is known, through the detector and its peers.
//!
//! Three grids: the means and noises the prototype was measured on, with its incidents; our own, finer and harder;
//! and one of series that are not what the detector takes them for. Each series is 14 days of minutes, with a day's
//! curve and a weekend. Everything follows from the seed.

mod noise;
mod random;
mod scenario;
mod table;
mod tally;
mod watcher;

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use noise::Noise;
use random::Random;
use scenario::{Definition, Plot, Scenario};
use tally::{Job, Tally};
use watcher::{Farrington, Ours, PoissonOverMedian, RollingZ, Watcher};

const USAGE: &str = "\
usage: simulation [options]

  --grid NAME         prototype, ours or foreign; may be repeated (default: all)
  --seed N            (default: 1)
  --repetitions N     series of a plot in each cell (default: 20)
  --peers             also run the peers, each on the same series
  --brief             a line for each grid and nothing else";

/// A set of cells: every mean with every noise.
struct Grid {
    name: &'static str,
    title: &'static str,
    number: u64,
    means: &'static [f64],
    noises: &'static [Noise],
    plots: &'static [Plot],
    definition: Definition,
}

const GRIDS: [Grid; 3] = [
    Grid {
        name: "prototype",
        title: "The prototype's grid and incidents",
        number: 1,
        means: &[0.05, 0.3, 1.0, 5.0, 50.0, 300.0],
        noises: &Noise::PROTOTYPE,
        plots: &Plot::ALL,
        definition: Definition::PROTOTYPE,
    },
    Grid {
        name: "ours",
        title: "Our grid, harder incidents",
        number: 2,
        means: &[0.05, 0.2, 1.0, 5.0, 20.0, 50.0, 100.0, 300.0],
        noises: &Noise::ASSUMED,
        plots: &[Plot::Nothing, Plot::Incidents, Plot::Twins],
        definition: Definition::OURS,
    },
    Grid {
        name: "foreign",
        title: "Series that are not what the detector takes them for, harder incidents",
        number: 3,
        means: &[0.2, 1.0, 5.0, 50.0, 300.0],
        noises: &Noise::FOREIGN,
        plots: &[Plot::Nothing, Plot::Incidents, Plot::Twins],
        definition: Definition::OURS,
    },
];

/// What the command line asks for.
struct Request {
    grids: Vec<String>,
    seed: u64,
    repetitions: usize,
    peers: bool,
    brief: bool,
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Request, String> {
    let mut request = Request {
        grids: Vec::new(),
        seed: 1,
        repetitions: 20,
        peers: false,
        brief: false,
    };
    while let Some(option) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or_else(|| format!("{option}: there is no value\n{USAGE}"))
        };
        let number = |text: String| text.parse::<u64>().map_err(|e| format!("{text}: {e}"));
        match option.as_str() {
            "--grid" => request.grids.push(value()?),
            "--seed" => request.seed = number(value()?)?,
            "--repetitions" => request.repetitions = number(value()?)? as usize,
            "--peers" => request.peers = true,
            "--brief" => request.brief = true,
            _ => return Err(format!("{option} is not known\n{USAGE}")),
        }
    }
    let unknown = |name: &&String| !GRIDS.iter().any(|grid| grid.name == name.as_str());
    if let Some(name) = request.grids.iter().find(unknown) {
        return Err(format!("there is no grid {name}\n{USAGE}"));
    }
    Ok(request)
}

impl Grid {
    /// Mean and noise of a cell.
    fn cell(&self, cell: usize) -> (f64, Noise) {
        let noises = self.noises.len();
        (self.means[cell / noises], self.noises[cell % noises])
    }

    fn cells(&self) -> usize {
        self.means.len() * self.noises.len()
    }

    /// Every cell's figures, by watcher.
    fn run(&self, request: &Request, watchers: &[&dyn Watcher]) -> Vec<Vec<Tally>> {
        let jobs: Vec<Job> = (0..self.cells())
            .flat_map(|cell| self.plots.iter().map(move |plot| (cell, *plot)))
            .flat_map(|(cell, plot)| {
                (0..plot.repetitions(request.repetitions)).map(move |repetition| Job {
                    cell,
                    plot,
                    repetition,
                })
            })
            .collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut tallies = vec![vec![Tally::default(); self.cells()]; watchers.len()];
            while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                let scenario = self.scenario(request.seed, job);
                for (watcher, tallies) in watchers.iter().zip(&mut tallies) {
                    tallies[job.cell].add(&scenario, &watcher.read(&scenario));
                }
            }
            tallies
        };
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let parts: Vec<Vec<Vec<Tally>>> = thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            workers
                .into_iter()
                .map(|worker| worker.join().expect("a worker does not panic"))
                .collect()
        });
        let mut all = vec![vec![Tally::default(); self.cells()]; watchers.len()];
        for part in parts {
            for (mine, theirs) in all.iter_mut().flatten().zip(part.iter().flatten()) {
                mine.merge(theirs);
            }
        }
        all
    }

    fn scenario(&self, seed: u64, job: &Job) -> Scenario {
        let (mean, noise) = self.cell(job.cell);
        let name = [
            self.number,
            job.cell as u64,
            job.plot as u64,
            job.repetition as u64,
        ];
        let mut random = Random::new(seed, &name);
        Scenario::make(&mut random, mean, &noise, job.plot, &self.definition)
    }
}

fn run(request: &Request) {
    let mut watchers: Vec<&dyn Watcher> = vec![&Ours];
    if request.peers {
        watchers.extend([
            &RollingZ { threshold: 4.0 } as &dyn Watcher,
            &RollingZ { threshold: 6.0 },
            &Farrington,
            &PoissonOverMedian,
        ]);
    }
    for grid in &GRIDS {
        if !request.grids.is_empty() && !request.grids.iter().any(|name| name == grid.name) {
            continue;
        }
        let all = grid.run(request, &watchers);
        let cells: Vec<(f64, Noise)> = (0..grid.cells()).map(|cell| grid.cell(cell)).collect();
        if request.brief {
            table::brief(grid.name, &cells, &all[0]);
            continue;
        }
        println!("#### {}\n", grid.title);
        table::cells(&cells, &all[0], grid.plots);
        table::summary(&cells, &watchers, &all);
    }
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(request) => {
            run(&request);
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("simulation: {message}");
            ExitCode::FAILURE
        }
    }
}
